import { CommandError } from '../command.ts'
import type { InputEvent } from '../commands/input.ts'
import { RequestError } from '../request.ts'
import type { Answer } from '../request.ts'
import { Away, describe, isTemporary } from '../retry.ts'
import { Bell } from './bell.ts'
import type { ProducerClient, ProducerState } from './producer-client.ts'
import { SendBuffer } from './send-buffer.ts'

/** Limits in ms and bytes; tests use smaller ones. */
export interface LivePublishLimits {
  /** Maximum bytes of events that may not be in the log yet; stdin waits while there are more. */
  bufferBytes: number
  /** How often the service is asked for the log's progress while events may be missing there. */
  pollMs: number
  /** The same while the buffer is half full. */
  busyPollMs: number
  /** A connection through which nothing reaches the log for this long is abandoned. */
  stallMs: number
  /** After this time without a line an empty one is sent, for proxies and to detect a lost connection. */
  keepAliveMs: number
  /** How long to keep reading after a signal, for the last output of a program that the same signal ends. */
  readOnMs: number
  /** How long to wait for the log after a signal. */
  leaveMs: number
}

export const LIVE_PUBLISH_LIMITS: LivePublishLimits = {
  bufferBytes: 4 * 1024 * 1024,
  pollMs: 2_000,
  busyPollMs: 50,
  stallMs: 30_000,
  keepAliveMs: 15_000,
  readOnMs: 1_000,
  leaveMs: 4_000
}

const CHUNK_BYTES = 64 * 1024

/** The connection is open, but nothing gets through. */
class StalledError extends RequestError {
  constructor (url: string, stallMs: number) {
    super(url, new DOMException('', 'TimeoutError'))
    this.message = `no line has reached the log for ${stallMs / 1_000} s: the log or the network is down, or a proxy ` +
      'holds the body of the request back'
  }
}

export interface LivePublisherInit {
  client: ProducerClient
  /** How long to retry while the service is unavailable, in ms. */
  waitMs: number
  /** Shows a message to the user. */
  tell: (text: string) => void
  limits?: LivePublishLimits
}

/**
 * Publishes events as they arrive, each exactly once, as one producer, using as many requests as necessary.
 *
 *     stdin ─▶ SendBuffer ─▶ body of the request ─▶ service ─▶ log
 *                  ▲ accepted                                   │
 *                  └────── GET, from time to time ◀─────────────┘
 */
export class LivePublisher {
  readonly #init: LivePublisherInit
  readonly #limits: LivePublishLimits
  readonly #buffer: SendBuffer
  readonly #bell = new Bell()
  /** Reset whenever another event has reached the log. */
  #away: Away
  /** True from the message that the service is unavailable until the message that it is back. */
  #isAway = false
  #attempt = new AbortController()
  /** The error that ended the input early. */
  #failure: { error: unknown } | undefined
  /** True while the command only waits for the log: no request may close the topic as done. */
  #isLeaving = false
  #isOver = false

  constructor (init: LivePublisherInit) {
    this.#init = init
    this.#limits = init.limits ?? LIVE_PUBLISH_LIMITS
    this.#buffer = new SendBuffer(this.#limits.bufferBytes)
    this.#away = new Away(init.waitMs)
  }

  /** Number of events in the log, as far as is known. */
  get accepted (): number { return this.#buffer.accepted }

  /**
   * Settles with true when all events are in the log and the topic is closed as done, and with false after `stopping`
   * aborts; the topic is then open. Rejects with what is wrong with the input, when the log has what came before, and
   * with a `CommandError` if the service does not accept events any more.
   */
  async publish (batches: AsyncIterable<readonly InputEvent[]>, stopping: AbortSignal): Promise<boolean> {
    void this.#read(batches)
    const onStop = (): void => { this.#bell.ring() }
    stopping.addEventListener('abort', onStop)
    try {
      return await Promise.race([this.#deliver(), this.#leave(stopping)])
    } finally {
      stopping.removeEventListener('abort', onStop)
      this.#isOver = true
      this.#attempt.abort()
      this.#bell.ring()
    }
  }

  /** Never rejects. */
  async #read (batches: AsyncIterable<readonly InputEvent[]>): Promise<void> {
    try {
      for await (const events of batches) {
        this.#buffer.add(events)
        this.#bell.ring()
        await this.#bell.until(() => !this.#buffer.isFull || this.#isOver)
      }
      this.#buffer.isEnded = true
    } catch (error) {
      this.#failure = { error }
    }
    this.#bell.ring()
  }

  /**
   * Settles after a signal, or rejects after invalid input; in both cases events that were read are in the log, if
   * possible.
   */
  async #leave (stopping: AbortSignal): Promise<false> {
    await this.#bell.until(() => stopping.aborted || this.#failure !== undefined)
    this.#isLeaving = true
    const { readOnMs, leaveMs } = this.#limits
    if (stopping.aborted) await this.#bell.until(() => this.#buffer.isEnded, readOnMs)
    const isClear = (): boolean => this.#buffer.isClear || this.#isOver
    this.#bell.ring()
    await this.#bell.until(() => isClear() || stopping.aborted)
    await this.#bell.until(isClear, leaveMs)
    if (this.#failure) throw this.#failure.error
    return false
  }

  /** Sends requests until one has sent the input to its end. */
  async #deliver (): Promise<true> {
    for (let isDone = false; !isDone;) {
      const answer = await this.#send()
      isDone = this.#isOver || this.#init.client.isDone(answer) || await this.#recover(answer)
    }
    this.#buffer.accept(this.#buffer.next)
    return true
  }

  /** Sends one request, starting with the first event that may be missing in the log. Resolves to its outcome. */
  async #send (): Promise<Answer | RequestError> {
    const attempt = this.#attempt = new AbortController()
    const first = this.#buffer.accepted
    void this.#watch(attempt)
    return this.#init.client.send(this.#body(first, attempt.signal), first, attempt.signal)
      .catch((error: RequestError) => error)
      .finally(() => {
        attempt.abort()
        this.#bell.ring()
      })
  }

  async * #body (first: number, signal: AbortSignal): AsyncGenerator<string, void> {
    let at = first
    const isMore = (): boolean => this.#buffer.next > at || this.#isAtEnd || signal.aborted
    for (;;) {
      if (!(await this.#bell.until(isMore, this.#limits.keepAliveMs))) yield '\n'
      if (signal.aborted || (this.#buffer.next === at && this.#isAtEnd)) return
      const { lines, next } = this.#buffer.linesFrom(at, CHUNK_BYTES)
      at = next
      if (lines !== '') yield lines
    }
  }

  get #isAtEnd (): boolean { return this.#buffer.isEnded && !this.#isLeaving }

  /** Polls the log's progress while a request is open, and abandons the request if there is none. */
  async #watch (attempt: AbortController): Promise<void> {
    const { pollMs, busyPollMs, stallMs } = this.#limits
    const { signal } = attempt
    const isOver = (): boolean => signal.aborted
    const isUrgent = (): boolean => isOver() || this.#buffer.isHalfFull || (this.#isLeaving && !this.#buffer.isClear)
    let isConfirmed = false
    let movedAt = performance.now()
    while (!isOver()) {
      await this.#bell.until(isUrgent, pollMs)
      const isIdle = isConfirmed && this.#buffer.isClear && !this.#isAtEnd
      if (isIdle || (await this.#hasMoved(signal))) {
        movedAt = performance.now()
        isConfirmed = true
      } else if (performance.now() - movedAt > stallMs) {
        attempt.abort(new StalledError(this.#init.client.url, stallMs))
      }
      if (isUrgent()) await this.#bell.until(isOver, busyPollMs)
    }
  }

  /** True if the producer is active and the log has more of its events than before, or all of them. */
  async #hasMoved (signal: AbortSignal): Promise<boolean> {
    const before = this.#buffer.accepted
    const state = await this.#init.client.look()
    if (signal.aborted || !state?.isOurs || state.state !== 'live') return false
    this.#buffer.accept(Math.max(before, state.accepted))
    if (this.#isAway) this.#init.tell('the service is available again, publishing continues')
    this.#isAway = false
    this.#away = new Away(this.#init.waitMs)
    this.#bell.ring()
    return this.#buffer.accepted > before || (this.#buffer.isClear && !this.#isAtEnd)
  }

  /**
   * After a request without success: waits, and looks where the next one has to begin. Settles with true if none is
   * needed, because only the response was lost. Throws a `CommandError` if another request would not help.
   */
  async #recover (answer: Answer | RequestError): Promise<boolean> {
    if (!isTemporary(answer)) throw this.#refusal(answer)
    const { client, tell, waitMs } = this.#init
    const pauseMs = this.#away.next(answer)
    if (pauseMs === undefined) {
      throw new CommandError(`${describe(answer)}; gave up after ${waitMs / 1_000} s: ${this.#progress}`)
    }
    if (!this.#isAway) tell(`${describe(answer)}; waiting up to ${waitMs / 1_000} s`)
    this.#isAway = true
    await this.#bell.until(() => this.#isOver, pauseMs)
    const state = await client.look()
    // If that is unknown, or another producer has the topic, the next request fails with the reason.
    return state !== undefined && (state.isOurs || state.state === 'none') && this.#resume(state)
  }

  #resume ({ state, accepted }: ProducerState): boolean {
    const { first, next } = this.#buffer
    if (state === 'done' && accepted >= next && this.#isAtEnd) return true
    if (state !== 'live' && state !== 'none') {
      throw new CommandError(`the topic was closed as "${state}" meanwhile: ${this.#progress}`)
    }
    if (accepted < first) {
      throw new CommandError(`the log has lost events that it had acknowledged: it has only ${accepted}`)
    }
    if (accepted > this.#buffer.accepted) this.#away = new Away(this.#init.waitMs)
    this.#buffer.accept(accepted)
    return false
  }

  get #progress (): string {
    return `the log has ${this.#buffer.accepted} of ${this.#buffer.next} events`
  }

  /** The error response of the service, with the line number in the input instead of that in the request. */
  #refusal (answer: Answer | RequestError): CommandError {
    const text = describe(answer)
    if (answer instanceof RequestError) return new CommandError(text)
    if (text.includes('TOPICS_PRODUCER_EXISTS')) return new CommandError(`${text}; --take-over supersedes it`)
    const number = Number(answer.headers.get('producer-accepted') ?? NaN)
    const isKnown = number >= this.#buffer.first && number < this.#buffer.next
    return new CommandError(isKnown ? text.replace(/\bline \d+/g, `line ${this.#buffer.at(number).number}`) : text)
  }
}
