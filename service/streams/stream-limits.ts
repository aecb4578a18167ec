import { addressOf } from '../http/client-address.ts'
import { errors } from '../errors.ts'
import { Places } from './places.ts'
import type { LimitedStream, Place } from './places.ts'

/** Maximum numbers of streams; 0 means no limit. */
export interface StreamLimitsInit {
  maxStreams: number
  maxStreamsPerAddress: number
  maxStreamsPerSubject: number
  /** Topics that all streams may follow together; the streams of one subject may follow half of them. */
  maxTopics: number
  /**
   * Heartbeat interval: a stream is only replaced by another one of its address if it has been open for two intervals.
   */
  heartbeatMs: number
}

/** The owner of a stream. */
export interface StreamOwner {
  /** Undefined on a Unix socket. */
  address: string | undefined
  /** Undefined without authentication. */
  subject: string | undefined
}

export interface Asker extends StreamOwner {
  stream: LimitedStream
  topics: readonly string[]
}

/**
 * `retry:` of a replaced stream is drawn from one to two times this value, so that a tab that is still open does not
 * immediately replace the new stream in turn.
 */
const REPLACED_RETRY_MS = 30_000

/**
 * Counts the streams of this process, in total and by owner. Owners without streams are not kept.
 *
 * **Newest wins** within one owner: a client that vanished without closing its connection (a phone that changed
 * networks) keeps its stream until the kernel gives up on it, which takes 15 minutes and more. When it reconnects, its
 * new stream replaces the owner's stream that waits for its client, or else the oldest.
 */
export class StreamLimits {
  readonly #init: StreamLimitsInit
  readonly #byAddress = new Places()
  readonly #bySubject = new Places()
  #all = 0

  constructor (init: StreamLimitsInit) {
    this.#init = init
  }

  /** All streams, and the streams by owner. */
  get counts (): { streams: number, addresses: number, subjects: number } {
    return { streams: this.#all, addresses: this.#byAddress.owners, subjects: this.#bySubject.owners }
  }

  /**
   * Takes a place and returns a function that releases it, which may be called repeatedly. May close another stream of
   * the same owner with reason `replaced`. Throws `SERVICE_TOO_MANY_STREAMS…` or `SERVICE_TOO_MANY_TOPICS_OF_SUBJECT`
   * without changing anything.
   */
  take ({ address: ip, subject, stream, topics }: Asker): () => void {
    const place: Place = { address: addressOf(ip), subject, stream, topics, since: performance.now() }
    const replaced = this.#makeRoom(place)
    for (const each of replaced) {
      this.#release(each)
      each.stream.closeWithRetry('replaced', Math.round(REPLACED_RETRY_MS * (1 + Math.random())))
    }
    this.#all++
    this.#byAddress.add(place.address, place)
    if (subject !== undefined) this.#bySubject.add(subject, place)
    return () => this.#release(place)
  }

  /** Chooses the streams to replace; none in most cases. */
  #makeRoom (place: Place): ReadonlySet<Place> {
    const { maxStreams } = this.#init
    const replaced = new Set<Place>()
    const ofSubject = this.#replacedOfSubject(place)
    if (ofSubject !== undefined) replaced.add(ofSubject)
    const ofAddress = this.#replacedOfAddress(place, ofSubject)
    if (ofAddress !== undefined) replaced.add(ofAddress)
    if (replaced.size === 0 && isFull(this.#all, maxStreams)) throw new errors.SERVICE_TOO_MANY_STREAMS(maxStreams)
    this.#checkTopics(place, ofSubject)
    return replaced
  }

  #replacedOfSubject ({ subject }: Place): Place | undefined {
    if (subject === undefined || !isFull(this.#bySubject.count(subject), this.#init.maxStreamsPerSubject)) {
      return undefined
    }
    return this.#bySubject.choose(subject, () => true)
  }

  /**
   * For the limit of an address, only a stream of the same subject is replaced, and no new one: many clients may share
   * an address.
   */
  #replacedOfAddress ({ address, subject, since }: Place, ofSubject: Place | undefined): Place | undefined {
    const { maxStreamsPerAddress, heartbeatMs } = this.#init
    if (ofSubject?.address === address || !isFull(this.#byAddress.count(address), maxStreamsPerAddress)) {
      return undefined
    }
    const openedBefore = since - 2 * heartbeatMs
    const replaced = this.#byAddress.choose(address, other => other.subject === subject && other.since <= openedBefore)
    if (replaced === undefined) throw new errors.SERVICE_TOO_MANY_STREAMS_OF_ADDRESS(maxStreamsPerAddress)
    return replaced
  }

  /** One subject must not follow all the topics that the process may follow: the others could follow no more. */
  #checkTopics ({ subject, topics }: Place, replaced: Place | undefined): void {
    if (subject === undefined) return
    const maxTopics = Math.max(1, Math.floor(this.#init.maxTopics / 2))
    if (this.#bySubject.topicsWith(subject, topics, replaced) > maxTopics) {
      throw new errors.SERVICE_TOO_MANY_TOPICS_OF_SUBJECT(maxTopics)
    }
  }

  #release (place: Place): void {
    if (!this.#byAddress.delete(place.address, place)) return
    this.#all--
    if (place.subject !== undefined) this.#bySubject.delete(place.subject, place)
  }
}

function isFull (taken: number, limit: number): boolean {
  return limit > 0 && taken >= limit
}
