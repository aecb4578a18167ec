import { parseCursor, topicTag } from '../../../plugin/topics/ids/cursor.ts'
import { compareEventIds, formatEventId, isSameEventId, ORIGIN, parseEventId } from '../../../plugin/topics/ids/event-id.ts'
import type { EventId } from '../../../plugin/topics/ids/event-id.ts'
import type { TopicEnds } from '../../../plugin/topics/log/topic-log.ts'
import type { Gap } from '../../../plugin/common/in-band.ts'
import { numberAfter } from '../../../plugin/topics/ids/resume.ts'
import type { Received } from './connection.ts'

/** Everything that the log contains or has contained: data by topic and id. */
export type Truth = ReadonlyMap<string, ReadonlyMap<string, string>>

/** What a client received from a topic. */
export type Step = { kind: 'event', id: EventId, data: string } | { kind: 'gap', gap: Gap }

/**
 * Records what one client has received from one topic, from its first position on, and checks it against the guarantee:
 * every event exactly once and in order, or covered by a gap; and no gap if nothing was lost.
 */
class TopicJournal {
  readonly topic: string
  start: EventId | undefined
  readonly steps: Step[] = []

  constructor (topic: string) {
    this.topic = topic
  }

  /** All violations, described in words; empty if the guarantee was kept. */
  check (ends: TopicEnds, truth: ReadonlyMap<string, string>): string[] {
    const problems: string[] = []
    const complain = (what: string): void => { problems.push(`${this.topic}: ${what}`) }
    let at = this.start
    let isOpenGap = false
    for (const step of this.steps) {
      if (step.kind === 'gap') {
        this.#checkGap(step.gap, at, ends, complain)
        isOpenGap = step.gap.resumedAt === null && step.gap.missed === undefined && step.gap.reason !== 'fork'
        at = positionAfter(step.gap, at, ends)
        continue
      }
      const { id, data } = step
      if (at &&
        compareEventIds(id, at) <= 0) complain(`${formatEventId(id)} came again, or late, after ${formatEventId(at)}`)
      else if (at && !isOpenGap && !mayFollow(at, id, ends)) {
        complain(
        `between ${formatEventId(at)} and ${formatEventId(id)} something is missing, and nothing was told`
        )
      }
      if (truth.has(formatEventId(id)) && truth.get(formatEventId(id)) !== data) {
        complain(`${formatEventId(id)} says ${data}, not ${truth.get(formatEventId(id))}`)
      }
      at = id
      isOpenGap = false
    }
    if (at && at.n !== ends.last.n && !(isOpenGap && ends.count === 0)) {
      complain(`ends at ${formatEventId(at)}, the log at ${formatEventId(ends.last)}`)
    }
    return problems
  }

  #checkGap (
    { after, resumedAt, reason, missed }: Gap,
    at: EventId | undefined,
    { first, count, skips }: TopicEnds,
    complain: (what: string) => void
  ): void {
    const from = at && formatEventId(at)
    if (after !== null && at !== undefined && parseEventId(after)?.n !== at.n) {
      complain(`a gap after ${after} was told to a client at ${from}`)
    }
    // A forgotten topic starts again; every other gap leads forward, or the client would receive events again.
    const resumed = resumedAt === null ? undefined : parseEventId(resumedAt)
    if (at && resumed && reason !== 'expired' && resumed.n <= at.n) {
      complain(`a gap (${reason}) led back from ${from} to ${resumedAt}`)
    }
    if (reason !== 'trimmed' || !at) return
    const next = resumedAt === null ? at.n + missed! + 1 : parseEventId(resumedAt)!.n
    // If events were trimmed, or received, in a history that a failover has since discarded, that says nothing about
    // the current one.
    if (skips.some(skip => skip.from.n < next && next < skip.to)) return
    // The same applies to what was trimmed by an append that was lost later: the one that left `count` events from
    // `next` on.
    if (skips.some(skip => skip.from.n < next - 1 + count && next - 1 + count < skip.to)) return
    if (next <= numberAfter(at.n, { skips })) {
      complain(`a gap was told after ${from}, and nothing was lost before ${resumedAt}`)
    }
    // In a later life of the topic the numbers are unrelated to this one.
    const isSameLife = first && (!resumed || first.ms <= resumed.ms)
    if (isSameLife && first.n < next) {
      complain(`a gap up to ${resumedAt} was told, and ${formatEventId(first)} is still there`)
    }
  }
}

/** True for the next number, the one after a skip, or one that was assigned in between and lost in a failover. */
function mayFollow (at: EventId, id: EventId, { skips }: TopicEnds): boolean {
  return id.n === at.n + 1 || skips.some(skip => skip.from.n <= at.n && at.n < skip.to && id.n <= skip.to)
}

/** The client's position after a gap: just before the event that follows; after a fork, at the last remaining event. */
function positionAfter (
  { reason, resumedAt, missed }: Gap,
  at: EventId | undefined,
  { skips }: TopicEnds
): EventId | undefined {
  const resumed = resumedAt === null ? undefined : parseEventId(resumedAt)
  if (resumed) return { ms: resumed.ms, n: resumed.n - 1 }
  if (!at) return at
  // Its numbers start again, from a position that is not known yet.
  if (reason === 'expired') return ORIGIN
  if (reason === 'fork') return skips.find(skip => skip.from.n < at.n && at.n < skip.to)?.from ?? at
  return missed === undefined ? at : { ms: at.ms, n: at.n + missed }
}

/** Everything that one client has received, over all its connections. */
export class Journal {
  readonly #topics: ReadonlyMap<string, TopicJournal>
  /** The Last-Event-ID that the client would send. */
  cursor: string | undefined
  readonly ended = new Set<string>()
  readonly problems: string[] = []
  /** Number of forks that were reported to it. */
  forks = 0

  constructor (topics: readonly string[]) {
    this.#topics = new Map(topics.map(topic => [topic, new TopicJournal(topic)]))
  }

  receive ({ id, event, data }: Received): void {
    if (event === 'stream.gap') this.#gap(JSON.parse(data) as Gap)
    else if (event === 'stream.end') this.ended.add((JSON.parse(data) as { topic: string }).topic)
    else if (event === 'stream.open') this.#open(id)
    else this.#event(id, data)
    this.cursor = id ?? this.cursor
  }

  check (ends: ReadonlyMap<string, TopicEnds>, truth: Truth): string[] {
    const found = [...this.#topics].flatMap(
      ([topic, journal]) => journal.check(ends.get(topic)!, truth.get(topic) ?? new Map())
    )
    return [...this.problems, ...found]
  }

  stepsOf (topic: string): { start: EventId | undefined, steps: readonly Step[] } {
    return this.#topics.get(topic)!
  }

  /** The number of events that the client has from a topic, and its position. */
  lastOf (topic: string): EventId | undefined {
    return this.cursor === undefined ? undefined : this.#positionIn(this.cursor, topic)
  }

  #open (id: string | undefined): void {
    if (id === undefined) return
    for (const [topic, journal] of this.#topics) {
      const position = this.#positionIn(id, topic)
      if (position === undefined) this.problems.push(`stream.open says nothing of ${topic}: ${id}`)
      else if (this.cursor === undefined) journal.start = position
      else if (!isSamePlace(
        position,
        this.#positionIn(this.cursor, topic)
      )) this.problems.push(`stream.open moved ${topic} from ${this.cursor} to ${id}`)
    }
  }

  #event (id: string | undefined, data: string): void {
    const [topic] = data.split(' ')
    const position = id === undefined ? undefined : this.#positionIn(id, topic!)
    if (!position) this.problems.push(`an event without a position: ${id} ${data}`)
    else this.#topics.get(topic!)!.steps.push({ kind: 'event', id: position, data })
  }

  #gap (gap: Gap): void {
    if (gap.reason === 'fork') this.forks++
    this.#topics.get(gap.topic)!.steps.push({ kind: 'gap', gap })
  }

  #positionIn (text: string, topic: string): EventId | undefined {
    const cursor = parseCursor(text)
    if (cursor.kind === 'plain') return cursor.id
    return cursor.kind === 'vector' ? cursor.positions.get(topicTag(topic)) : undefined
  }
}

function isSamePlace (a: EventId, b: EventId | undefined): boolean {
  return b !== undefined && isSameEventId(a, b)
}
