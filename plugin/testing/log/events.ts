import { ORIGIN } from '../../topics/event-id.ts'
import type { EventId } from '../../topics/event-id.ts'
import type { LogEntry, NewEvent, TopicListener, TopicLog } from '../../topics/log/topic-log.ts'

/** More than any test has. */
export const ALL = { count: 1_000, bytes: 1024 * 1024 }

/** An event as a log gets it. */
export function newEvent (data: string, event?: string, retry?: number): NewEvent {
  return { data, event, retry }
}

/** Events with the data `e1`, `e2`, … */
export function newEvents (count: number, prefix = 'e'): NewEvent[] {
  return Array.from({ length: count }, (_, at) => newEvent(`${prefix}${at + 1}`))
}

/** Everything after a position, page by page. */
export async function readAll (log: TopicLog, topic: string, after: EventId = ORIGIN): Promise<LogEntry[]> {
  const all: LogEntry[] = []
  for (;;) {
    const page = await log.read(topic, all.at(-1)?.id ?? after, ALL)
    if (page.length === 0) return all
    all.push(...page)
  }
}

/** Their numbers. */
export const numbers = (entries: readonly LogEntry[]): number[] => entries.map(entry => entry.id.n)
/** Their data. */
export const dataOf = (entries: readonly LogEntry[]): string[] => entries.map(entry => entry.data)

/** Collects what a log tells of a topic. */
export class Recorder implements TopicListener {
  readonly entries: LogEntry[] = []
  closed = 0
  doubts = 0
  readonly stops: number[] = []
  onEntries (entries: readonly LogEntry[]): void { this.entries.push(...entries) }
  onClosed (): void { this.closed++ }
  onDoubt (): void { this.doubts++ }
  onStop (fence: number): void { this.stops.push(fence) }
}
