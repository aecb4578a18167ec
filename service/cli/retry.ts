import { UsageError } from './command.ts'
import type { Call } from './command.ts'
import { parseDuration } from '../config/duration.ts'
import { describeAnswer, RequestError } from './request.ts'
import type { Answer } from './request.ts'

/** As long as a restart behind a proxy takes on a busy machine. */
export const DEFAULT_WAIT = '60s'
/** Pauses between tries, in ms: the first one, then doubled up to the last one. */
const FIRST_PAUSE_MS = 200
const LAST_PAUSE_MS = 2_000
/** Applies to Retry-After as well. */
const MAX_PAUSE_MS = 60_000

/** How long the service has been unavailable, and whether the events may have been published anyway. */
export class Away {
  readonly #waitMs: number
  #since: number | undefined
  #pauseMs = FIRST_PAUSE_MS
  #mayBeDone = false

  constructor (waitMs: number) {
    this.#waitMs = waitMs
  }

  get hasBegun (): boolean { return this.#since !== undefined }

  /** After a failed try: how long to wait before the next one, in ms; undefined if there should be none. */
  next (answer: Answer | RequestError): number | undefined {
    if (!isTemporary(answer)) return undefined
    this.#mayBeDone ||= mayBeDone(answer)
    this.#since ??= performance.now()
    const leftMs = this.#since + this.#waitMs - performance.now()
    if (leftMs <= 0) return undefined
    const pauseMs = Math.max(this.#pauseMs, retryAfterMs(answer))
    this.#pauseMs = Math.min(2 * this.#pauseMs, LAST_PAUSE_MS)
    return Math.min(pauseMs, leftMs, MAX_PAUSE_MS)
  }

  /** Ends the message if the service did not come back. All other errors mean that nothing was published. */
  get outcome (): string {
    const outcome = this.#mayBeDone ? 'the events may have been published' : 'nothing was published'
    return `; gave up after ${this.#waitMs / 1_000} s: ${outcome}`
  }
}

/** 408 and 429 invite another try; so does every 5xx, which a proxy returns while the service restarts. */
export function isTemporary (answer: Answer | RequestError): boolean {
  return answer instanceof RequestError
    ? answer.isTemporary
    : answer.status >= 500 || answer.status === 429 || answer.status === 408
}

function mayBeDone (answer: Answer | RequestError): boolean {
  return answer instanceof RequestError ? answer.mayBeDone : answer.status >= 500
}

function retryAfterMs (answer: Answer | RequestError): number {
  const seconds = answer instanceof RequestError ? 0 : Number(answer.headers.get('retry-after') ?? 0)
  return Number.isFinite(seconds) ? 1_000 * seconds : 0
}

/** One line for people. */
export function describe (answer: Answer | RequestError): string {
  return answer instanceof RequestError ? answer.message : describeAnswer(answer)
}

/** How long `--wait` says to go on while the service is unavailable, in ms. Throws a `UsageError`. */
export function waitOf ({ values }: Call): number {
  const text = values.get('wait') ?? DEFAULT_WAIT
  const ms = text === '0' ? 0 : parseDuration(text)
  if (ms === undefined) {
    throw new UsageError(`--wait must be 0 or a duration such as 30s, 10m, 2h or 1d, saw ${JSON.stringify(text)}`)
  }
  return ms
}
