import { addressOf } from '../http/client-address.ts'
import { errors } from '../errors.ts'
import { Places } from './places.ts'
import type { LimitedStream, Place } from './places.ts'

/** How many streams there may be at one time; 0 stands for any number. */
export interface StreamLimitsInit {
  maxStreams: number
  maxStreamsPerAddress: number
  maxStreamsPerSubject: number
  /** Topics that all streams may follow together; the streams of one subject may follow half of them. */
  maxTopics: number
  /** Interval of heartbeats: a stream of an address is replaced only when it has been open for two of them. */
  heartbeatMs: number
}

/** Whose stream it is. */
export interface StreamOwner {
  /** Undefined on a Unix socket. */
  address: string | undefined
  /** Undefined where nobody is authenticated. */
  subject: string | undefined
}

export interface Asker extends StreamOwner {
  stream: LimitedStream
  topics: readonly string[]
}

/**
 * `retry:` of a replaced stream is drawn from one to two times this: a tab that is still there does not push out the
 * next one at once.
 */
const REPLACED_RETRY_MS = 30_000

/**
 * Counts the streams of this process, in all and by owner. Owners without streams are not remembered.
 *
 * **Newest wins** within one owner: a client that vanished without a word (a phone that changed networks) keeps its
 * stream until the kernel gives up on it, which takes 15 minutes and more. It comes back at once, in the place of the
 * owner's stream that waits for its client, or else of the oldest.
 */
export class StreamLimits {
  readonly #init: StreamLimitsInit
  readonly #byAddress = new Places()
  readonly #bySubject = new Places()
  #all = 0

  constructor (init: StreamLimitsInit) {
    this.#init = init
  }

  /** Streams, and those who have any. */
  get counts (): { streams: number, addresses: number, subjects: number } {
    return { streams: this.#all, addresses: this.#byAddress.owners, subjects: this.#bySubject.owners }
  }

  /**
   * Takes a place; what it returns gives it back, and may be called again. May close another stream of the same owner
   * with reason `replaced`. Throws `SERVICE_TOO_MANY_STREAMS…` or `SERVICE_TOO_MANY_TOPICS_OF_SUBJECT` and changes
   * nothing then.
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

  /** Chooses the streams that have to go; none in most cases. */
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
   * Of an address only a stream of the same subject is replaced, and none that is new: many clients may share an
   * address.
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
