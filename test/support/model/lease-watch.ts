import type { LeaseReply, LeaseRequest } from '../../../plugin/topics/log/lease.ts'
import type { EventId } from '../../../plugin/topics/ids/event-id.ts'
import type { LogLogger, Location, TopicEnds, TopicListener, TopicLog } from '../../../plugin/topics/log/topic-log.ts'

/** The time that the documents allow a process that follows a topic after the end of a lease, in ms. */
const TICK_MS = 50
/** The longest time before a log that was unavailable is queried again, in ms. */
const RETRY_MS = 2_000
/** How much later than promised the watch itself checks, in ms: enough that rounding to whole ms never matters. */
const MARGIN_MS = 50
/** Turns of the event loop in which pending input is processed, before a reader is reported as late. */
const TURNS = 50

/**
 * The log of a process that reads one topic. It detects that the process does not query a lease although that may
 * have expired, or that it learns that the topic is closed and does not react.
 *
 * No clocks are compared, because on a busy machine everything would be late. The watch sets its own timer when the log
 * reports the remaining time of a lease: for that time, a tick and a margin. Timers of one process fire in the order
 * of their times, however late all of them are, so when the timer of the watch fires, that of the follower has fired.
 */
export class LeaseWatch implements TopicLog {
  readonly append: TopicLog['append']
  readonly seek: TopicLog['seek']
  readonly close: TopicLog['close']
  readonly delete: TopicLog['delete']
  readonly #log: TopicLog
  readonly #onLate: (what: string) => void
  #timer: NodeJS.Timeout | undefined
  /** When the timer fires, by `performance.now()`. */
  #dueAt = 0
  #isClosed = false
  /** Requests without a result. */
  #pending = 0
  /** The time until which a failed request may wait for its retry, by `performance.now()`. */
  #retriedAt = 0
  /** The topic that is read; others are ignored. */
  #topic: string | undefined

  constructor (log: TopicLog, onLate: (what: string) => void) {
    this.#log = log
    this.#onLate = onLate
    this.append = log.append.bind(log)
    this.seek = log.seek.bind(log)
    this.close = log.close.bind(log)
    this.delete = log.delete.bind(log)
  }

  /** The topic is read from now on. */
  begin (topic: string): void {
    this.#topic = topic
    this.#isClosed = false
  }

  /** The reader has received the end, or has left. */
  rest (): void {
    this.#topic = undefined
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  start (logger: LogLogger): Promise<void> { return this.#log.start(logger) }
  stop (): Promise<void> { return this.#log.stop() }
  unfollow (topic: string, listener: TopicListener): Promise<void> { return this.#log.unfollow(topic, listener) }

  async read (...args: Parameters<TopicLog['read']>): ReturnType<TopicLog['read']> {
    // While the topic is open this reveals nothing about the lease.
    return this.#isClosed ? this.#ask(args[0], () => this.#log.read(...args), () => {}) : this.#log.read(...args)
  }

  async follow (topic: string, listener: TopicListener): Promise<TopicEnds> {
    return this.#ask(topic, () => this.#log.follow(topic, listener), ends => {
      this.#learn(ends.isClosed, ends.leaseMs)
    })
  }

  async locate (topic: string, id: EventId): Promise<Location> {
    return this.#ask(topic, () => this.#log.locate(topic, id), ({ ends }) => {
      this.#learn(ends.isClosed, ends.leaseMs)
    })
  }

  async lease (topic: string, request: LeaseRequest): Promise<LeaseReply> {
    return this.#ask(topic, () => this.#log.lease(topic, request), ({ isClosed, outcome, remainingMs }) => {
      if (outcome === 'none') this.#onLate('the lease is gone, and the topic is open')
      this.#learn(isClosed, outcome === 'ok' ? remainingMs : undefined)
    })
  }

  /** While a request is in progress the reader is not late; the watch continues after the result. */
  async #ask<T> (topic: string, request: () => Promise<T>, learn: (reply: T) => void): Promise<T> {
    if (topic !== this.#topic) return request()
    const wasWaiting = this.#timer !== undefined
    clearTimeout(this.#timer)
    this.#pending++
    try {
      const reply = await request()
      if (topic !== this.#topic) return reply
      learn(reply)
      // Another caller than the follower may see it first: the follower queries within a tick.
      if (this.#isClosed) this.#expect(TICK_MS, 'the topic is closed')
      return reply
    } catch (error) {
      this.#retriedAt = performance.now() + RETRY_MS
      if (wasWaiting && topic === this.#topic) this.#expect(this.#dueAt - performance.now(), 'the log was away')
      throw error
    } finally {
      this.#pending--
    }
  }

  #learn (isClosed: boolean, leaseMs: number | undefined): void {
    this.#isClosed ||= isClosed
    if (leaseMs !== undefined && !isClosed) this.#expect(leaseMs + TICK_MS, `the lease had ${leaseMs} ms left`)
  }

  #expect (promisedMs: number, what: string): void {
    clearTimeout(this.#timer)
    const ms = Math.max(promisedMs, this.#retriedAt - performance.now())
    this.#dueAt = performance.now() + ms
    const timer = setTimeout(() => { void this.#late(timer, what) }, ms + MARGIN_MS)
    this.#timer = timer
  }

  /** A process that was not running first processes its pending input. */
  async #late (timer: NodeJS.Timeout, what: string): Promise<void> {
    for (let turn = 0; turn < TURNS && this.#timer === timer; turn++) {
      await new Promise(resolve => setImmediate(resolve))
    }
    // Another caller waits for a result.
    if (this.#timer === timer && this.#pending > 0) this.#expect(TICK_MS, what)
    if (this.#timer === timer) this.#onLate(`${what}, and the reader was neither told nor was the log asked again`)
  }
}
