import type { OpenStreams, SseStream } from 'fastify-resumable-sse'
import { addressOf } from '../http/client-address.ts'
import { errors } from '../errors.ts'
import { AddressPlaces } from './address-places.ts'
import { OwnedTopics } from './owned-topics.ts'

/** Maximum numbers of streams; 0 means no limit. */
export interface StreamLimitsInit {
  maxStreams: number
  maxStreamsPerAddress: number
  maxStreamsPerSubject: number
  /**
   * Maximum number of topics that all streams together may follow; the streams of one subject may follow half of them.
   */
  maxTopics: number
  /**
   * Heartbeat interval: a stream is only replaced by another one of its address if it has been open for two intervals.
   */
  heartbeatMs: number
}

/** The parts of a stream that the limits need. */
export type LimitedStream = Pick<SseStream, 'owner' | 'topics' | 'bufferedBytes' | 'ageMs' | 'closeWithRetry'>

/**
 * `retry:` of a replaced stream is drawn from one to two times this value, so that a tab that is still open does not
 * immediately replace the new stream in turn.
 */
const REPLACED_RETRY_MS = 30_000

/**
 * Maximum number of streams examined for one to replace, so that an owner of many streams makes no request expensive.
 */
const MAX_LOOKED_AT = 100

/**
 * Limits the streams of this process, in total and by owner: by subject as recorded in the registry of the app, by
 * address as recorded here.
 *
 * **Newest wins** within one owner: a client that vanished without closing its connection (a phone that changed
 * networks) keeps its stream until the kernel gives up, which takes 15 minutes or more. When it reconnects, its new
 * stream replaces one of the owner's streams: one whose client does not read, otherwise the oldest.
 */
export class StreamLimits {
  readonly #streams: OpenStreams
  readonly #init: StreamLimitsInit
  readonly #places = new AddressPlaces<LimitedStream>()
  readonly #topicsOfSubjects = new OwnedTopics()

  /** Places are released when `streams` reports that a stream is over. */
  constructor (streams: OpenStreams, init: StreamLimitsInit) {
    this.#streams = streams
    this.#init = init
    streams.onClose((_reason, stream) => this.#release(stream))
  }

  /** The number of places taken, and of addresses with at least one. */
  get counts (): { streams: number, addresses: number } {
    return { streams: this.#places.size, addresses: this.#places.addresses }
  }

  /**
   * Takes a place for a stream that is in the registry; its address is undefined on a Unix socket. May close another
   * stream of the same owner with reason `replaced`. Throws `SERVICE_TOO_MANY_STREAMS…` or
   * `SERVICE_TOO_MANY_TOPICS_OF_SUBJECT` without changing anything. The topics of the stream must be set, and must not
   * change later.
   */
  take (stream: LimitedStream, ip: string | undefined): void {
    const address = addressOf(ip)
    for (const replaced of this.#makeRoom(stream, address)) {
      this.#release(replaced)
      replaced.closeWithRetry('replaced', Math.round(REPLACED_RETRY_MS * (1 + Math.random())))
    }
    this.#places.add(address, stream)
    if (stream.owner !== undefined) this.#topicsOfSubjects.add(stream.owner.subject, stream.topics)
  }

  /** Chooses the streams to replace; none in most cases. */
  #makeRoom (stream: LimitedStream, address: string): ReadonlySet<LimitedStream> {
    const { maxStreams } = this.#init
    const replaced = new Set<LimitedStream>()
    const ofSubject = this.#replacedOfSubject(stream)
    if (ofSubject !== undefined) replaced.add(ofSubject)
    const ofAddress = this.#replacedOfAddress(stream, address, ofSubject)
    if (ofAddress !== undefined) replaced.add(ofAddress)
    if (replaced.size === 0 && isFull(this.#places.size, maxStreams)) {
      throw new errors.SERVICE_TOO_MANY_STREAMS(maxStreams)
    }
    this.#checkTopics(stream, ofSubject)
    return replaced
  }

  #replacedOfSubject (stream: LimitedStream): LimitedStream | undefined {
    const known = this.#ofSubject(stream)
    // The new stream is already in the registry.
    const others = known.size - 1
    return isFull(others, this.#init.maxStreamsPerSubject) ? choose(known, other => other !== stream) : undefined
  }

  /**
   * For the limit of an address, only a stream of the same subject is replaced, and never a recently opened one: many
   * clients may share an address.
   */
  #replacedOfAddress (
    { owner }: LimitedStream,
    address: string,
    ofSubject: LimitedStream | undefined
  ): LimitedStream | undefined {
    const { maxStreamsPerAddress, heartbeatMs } = this.#init
    const known = this.#places.of(address)
    if (!isFull(known.size, maxStreamsPerAddress)) return undefined
    if (ofSubject !== undefined && this.#places.addressOf(ofSubject) === address) return undefined
    const replaced = choose(
      known,
      other => other.owner?.subject === owner?.subject && other.ageMs >= 2 * heartbeatMs
    )
    if (replaced === undefined) throw new errors.SERVICE_TOO_MANY_STREAMS_OF_ADDRESS(maxStreamsPerAddress)
    return replaced
  }

  /**
   * One subject must not follow all the topics that the process may follow: other subjects could then follow no more.
   */
  #checkTopics ({ owner, topics }: LimitedStream, replaced: LimitedStream | undefined): void {
    if (owner === undefined) return
    const maxTopics = Math.max(1, Math.floor(this.#init.maxTopics / 2))
    if (this.#topicsOfSubjects.countWith(owner.subject, topics, replaced?.topics) > maxTopics) {
      throw new errors.SERVICE_TOO_MANY_TOPICS_OF_SUBJECT(maxTopics)
    }
  }

  /** Does nothing for a stream without a place. */
  #release (stream: LimitedStream): void {
    const { owner, topics } = stream
    if (this.#places.delete(stream) && owner !== undefined) this.#topicsOfSubjects.delete(owner.subject, topics)
  }

  #ofSubject ({ owner }: LimitedStream): ReadonlySet<LimitedStream> {
    return owner === undefined ? NONE : this.#streams.ofSubject(owner.subject)
  }
}

const NONE: ReadonlySet<LimitedStream> = new Set()

function isFull (taken: number, limit: number): boolean {
  return limit > 0 && taken >= limit
}

/**
 * Among the oldest replaceable streams, the first whose client does not read, otherwise the oldest; undefined if none
 * is replaceable.
 */
function choose (
  streams: Iterable<LimitedStream>,
  mayGo: (stream: LimitedStream) => boolean
): LimitedStream | undefined {
  let oldest: LimitedStream | undefined
  let lookedAt = 0
  for (const stream of streams) {
    if (++lookedAt > MAX_LOOKED_AT) break
    if (!mayGo(stream)) continue
    if (stream.bufferedBytes > 0) return stream
    oldest ??= stream
  }
  return oldest
}
