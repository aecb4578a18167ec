import { IN_BAND } from '../../common/in-band.ts'
import { tagOf } from '../cursor.ts'
import type { GapDetail } from '../events.ts'
import type { ConnectionRequest, ConnectionSink, Outcome } from '../connection/transport.ts'
import { compare, formatCursor, parseId, readPositions } from './position.ts'
import type { Position } from './position.ts'
import type { LeaderMessage, TabMessage } from './protocol.ts'
import type { Start } from './start.ts'

/**
 * Only the server can tell where the member starts. Its position is after that of the leader's stream: either the
 * stream will reach it, or the server does not know it, and the member would drop all events. Or it starts now, and the
 * stream contains older events.
 */
export interface Unclear { readonly kind: 'unclear' }

/** One subscription of one tab: picks from the leader's stream what belongs to it, and delivers each event once. */
export class Member {
  readonly id: string
  readonly topics: readonly string[]
  readonly #sink: ConnectionSink
  readonly #isEnveloped: boolean
  readonly #finish: (outcome: Outcome | Unclear) => void
  readonly #tags: ReadonlyMap<string, string>
  readonly #positions: Map<string, Position>
  /** What is missing before the positions, until it is reported. */
  readonly #gaps: GapDetail[]
  /** Topics whose end the leader has reported, without an event or a gap since then. */
  readonly #ended = new Set<string>()
  /** True once the leader has answered: its earlier messages were for others. */
  #isJoined = false
  /** True if the server knows the positions. */
  #isConfirmed: boolean

  private constructor (
    id: string,
    topics: readonly string[],
    { url }: ConnectionRequest,
    { cursor, gaps, isConfirmed }: Start,
    tags: ReadonlyMap<string, string>,
    sink: ConnectionSink,
    finish: (outcome: Outcome | Unclear) => void
  ) {
    this.id = id
    this.topics = topics
    this.#isEnveloped = url.searchParams.get('envelope') === 'true'
    this.#sink = sink
    this.#finish = finish
    this.#tags = tags
    this.#positions = readPositions(cursor, topics, tags)
    this.#gaps = [...gaps]
    this.#isConfirmed = isConfirmed
  }

  static async create (
    id: string,
    request: ConnectionRequest,
    start: Start,
    sink: ConnectionSink,
    finish: (outcome: Outcome | Unclear) => void
  ): Promise<Member> {
    const topics = request.url.searchParams.getAll('topic').sort()
    const tags = await Promise.all(topics.map(async topic => [topic, await tagOf(topic) ?? ''] as const))
    return new Member(id, topics, request, start, new Map(tags), sink, finish)
  }

  /** What the leader needs to know about this member. */
  get join (): TabMessage & { kind: 'join' } {
    return { kind: 'join', member: this.id, topics: this.topics, positions: this.#positions }
  }

  /** The leader has changed or is gone. */
  detach (): void {
    if (this.#isJoined) this.#sink.interrupted()
    this.#isJoined = false
  }

  receive (message: LeaderMessage): void {
    if (message.kind === 'open') return this.#open(message)
    if (message.kind === 'failed') return this.#fail(message)
    if (message.kind === 'finished') return this.#end(message)
    if (this.#isJoined && message.kind !== 'alive') this.#follow(message)
  }

  #follow (message: Exclude<LeaderMessage, { kind: 'open' | 'failed' | 'finished' | 'alive' }>): void {
    if (message.kind === 'interrupted') this.#sink.interrupted()
    else if (message.kind === 'published') this.#publish(message)
    else if (message.kind === 'gap') this.#gap(message)
    else if (message.kind === 'expiring') this.#pass(IN_BAND.expiring, message.detail)
    else if (this.topics.includes(message.topic)) this.#endTopic(message)
  }

  /** The leader's stream goes on for others, so the last end is the end of this member's part of it. */
  #endTopic ({ topic, reason }: LeaderMessage & { kind: 'end' }): void {
    this.#ended.add(topic)
    this.#pass(IN_BAND.end, { topic, reason })
    if (this.topics.every(each => this.#ended.has(each))) this.#finish({ kind: 'ended' })
  }

  #open ({ positions, members, repeated = [] }: LeaderMessage & { kind: 'open' }): void {
    if (!members.includes(this.id)) return
    const isUnclear = this.#isAheadOf(positions) || repeated.some(topic => this.#startsNow(topic))
    if (isUnclear && !this.#isConfirmed) return this.#finish({ kind: 'unclear' })
    this.#isConfirmed = true
    this.#adopt(positions)
    this.#isJoined = true
    this.#ended.clear()
    this.#sink.open()
    // As on the wire: only the last gap has the cursor, so that none is lost if the connection ends between them.
    const gaps = this.#gaps.splice(0)
    this.#pass(IN_BAND.open, {}, gaps.length === 0)
    gaps.forEach((gap, at) => this.#pass(IN_BAND.gap, gap, at === gaps.length - 1))
  }

  #isAheadOf (positions: ReadonlyMap<string, Position>): boolean {
    return [...this.#positions].some(([topic, own]) => compare(own, positions.get(topic) ?? own) > 0)
  }

  #startsNow (topic: string): boolean { return this.topics.includes(topic) && !this.#positions.has(topic) }

  /** Our own positions are never moved: events that we have not seen are still to come. */
  #adopt (positions: ReadonlyMap<string, Position>): void {
    for (const topic of this.topics) {
      const position = positions.get(topic)
      if (position && !this.#positions.has(topic)) this.#positions.set(topic, position)
    }
  }

  #publish ({ event, position }: LeaderMessage & { kind: 'published' }): void {
    const { topic } = event
    if (topic === undefined || !this.topics.includes(topic)) return
    this.#ended.delete(topic)
    const last = this.#positions.get(topic)
    if (position && last && compare(position, last) <= 0) return
    if (position) this.#positions.set(topic, position)
    const { id, data } = event
    const text = this.#isEnveloped ? JSON.stringify({ topic, id, event: event.event, data }) : data
    this.#sink.message({ id: this.#cursor, event: event.event, data: text })
  }

  /** A gap before events of another member need not be a gap for this one. */
  #gap ({ detail, positions }: LeaderMessage & { kind: 'gap' }): void {
    const { topic, after, resumedAt } = detail
    this.#adopt(positions)
    if (!this.topics.includes(topic)) return
    this.#ended.delete(topic)
    const last = this.#positions.get(topic)
    const [begin, next] = [after, resumedAt].map(id => parseId(id ?? ''))
    const end = endOfGap(begin, next, positions.get(topic))
    const isOfOurPosition = last && begin && compare(last, begin) === 0
    const isBehind = last && end && (compare(last, end) >= 0 || last.n + 1 === next?.n)
    if (isBehind && !isOfOurPosition) return
    if (end) this.#positions.set(topic, end)
    const { missed, ...rest } = detail
    this.#pass(IN_BAND.gap, isOfOurPosition || !last || !begin ? detail : rest)
  }

  #pass (event: string, data: object, hasCursor = true): void {
    this.#sink.message({ id: hasCursor ? this.#cursor : undefined, event, data: JSON.stringify(data) })
  }

  #fail ({ detail, members }: LeaderMessage & { kind: 'failed' }): void {
    if (members && !members.includes(this.id)) return
    const { status = 0, message, willRetry } = detail
    // Without the cursor: a gap before it may not have been reported yet.
    if (willRetry) this.#pass(IN_BAND.error, detail, false)
    else this.#finish({ kind: 'rejected', status, message })
  }

  /** That nothing remains for members at the end of their topics proves nothing about an unconfirmed position. */
  #end ({ members }: LeaderMessage & { kind: 'finished' }): void {
    if (!members.includes(this.id)) return
    this.#finish(this.#isConfirmed ? { kind: 'rejected', status: 204, message: '' } : { kind: 'unclear' })
  }

  get #cursor (): string {
    return formatCursor(this.topics, this.#positions, this.#tags)
  }
}

/** Where the stream continues after a gap; undefined if that is unknown, because nothing follows yet. */
function endOfGap (
  begin: Position | undefined,
  next: Position | undefined,
  reached: Position | undefined
): Position | undefined {
  if (next) return { ms: next.ms, n: next.n - 1 }
  return reached && begin && compare(reached, begin) === 0 ? undefined : reached
}
