import { ORIGIN } from '../../topics/ids/event-id.ts'
import type { EventId } from '../../topics/ids/event-id.ts'
import type { LogEntry, NewEvent, TopicListener, TopicLog } from '../../topics/log/topic-log.ts'

/** Limits above what any test needs. */
export const ALL = { count: 1_000, bytes: 1024 * 1024 }

/** An event as it is passed to a log. */
export function newEvent (data: string, event?: string, retry?: number): NewEvent {
  return { data, event, retry }
}

/** Events with the data `e1`, `e2`, … */
export function newEvents (count: number, prefix = 'e'): NewEvent[] {
  return Array.from({ length: count }, (_, at) => newEvent(`${prefix}${at + 1}`))
}

/** All events after a position, read page by page. */
export async function readAll (log: TopicLog, topic: string, after: EventId = ORIGIN): Promise<LogEntry[]> {
  const all: LogEntry[] = []
  for (;;) {
    const page = await log.read(topic, all.at(-1)?.id ?? after, ALL)
    if (page.length === 0) return all
    all.push(...page)
  }
}

/** The numbers of the entries. */
export const numbers = (entries: readonly LogEntry[]): number[] => entries.map(entry => entry.id.n)
/** The data of the entries. */
export const dataOf = (entries: readonly LogEntry[]): string[] => entries.map(entry => entry.data)

/** Records what a log reports about a topic. */
export class Recorder implements TopicListener {
  readonly entries: LogEntry[] = []
  closed = 0
  resyncs = 0
  readonly stops: number[] = []
  onEntries (entries: readonly LogEntry[]): void { this.entries.push(...entries) }
  onClosed (): void { this.closed++ }
  onResync (): void { this.resyncs++ }
  onStop (fence: number): void { this.stops.push(fence) }
}
