import type { Cluster, Redis } from 'ioredis'
import { parseEventId } from '../../event-id.ts'
import type { EventId } from '../../event-id.ts'
import { positionBeforeFirst } from '../../resume.ts'
import type { TopicEnds } from '../topic-log.ts'

/** Finds the first entry from an id on, undefined when there is none. */
type Next = (from: string) => Promise<EventId | undefined>

/**
 * Redis finds entries by id only, and an id begins with the time. Numbers are dense and rise with it, so the entry with
 * a number is found by trying times: in turn where it should be if events came evenly, and in the middle. Each try
 * reads one entry, so the cost grows with the logarithm of the time span, not with the number or size of the events.
 *
 * Resolves to the position of that number; where its entry is not retained any more, to the one before the first entry.
 */
export async function seekNumber (n: number, ends: TopicEnds, next: Next): Promise<EventId> {
  const { first, last } = ends
  if (first === undefined || n < first.n) return positionBeforeFirst(ends)
  let low = first
  let high = last
  for (let isEven = true; low.ms < high.ms; isEven = !isEven) {
    const share = isEven ? (n - low.n) / (high.n - low.n) : 0.5
    const ms = low.ms + Math.max(1, Math.ceil((high.ms - low.ms) * share))
    const found = await next(`${ms}-0`)
    if (found !== undefined && found.n <= n) low = found
    else high = { ms: ms - 1, n: found?.n ?? last.n }
  }
  return { ms: low.ms, n }
}

/** The number of the entry that exactly `count` entries come after. */
export function numberBelow (count: number, { last, jumps }: TopicEnds): number {
  let n = last.n
  let left = count
  for (const jump of jumps.toReversed().filter(jump => jump.to <= last.n)) {
    const above = n - jump.to + 1
    if (left < above) break
    left -= above
    n = jump.from.n
  }
  return n - left
}

/** The number of the entry before the one with this number. */
export function numberBefore (n: number, { jumps }: TopicEnds): number {
  return jumps.find(jump => jump.to === n)?.from.n ?? n - 1
}

/** The first entry of ours from an id on; what another program put into the stream is passed over. */
export async function firstFrom (client: Redis | Cluster, key: string, from: string): Promise<EventId | undefined> {
  for (let start = from; ;) {
    const [entry] = await client.xrange(key, start, '+', 'COUNT', 1)
    if (entry === undefined) return undefined
    const [text, fields] = entry
    const id = parseEventId(text)
    if (id !== undefined && id.n > 0 && fields.some((field, index) => index % 2 === 0 && field === 'data')) return id
    start = `(${text}`
  }
}
