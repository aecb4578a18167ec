import { once } from 'node:events'
import { setTimeout } from 'node:timers/promises'
import { CommandError } from '../command.ts'
import type { Service } from '../command.ts'
import { request, RequestError } from '../request.ts'
import type { Answer } from '../request.ts'
import { isTemporary } from '../retry.ts'
import { sendLive } from './live-request.ts'

/** The producer of a topic, as the service describes it. */
export interface ProducerState {
  state: string
  lease: number | null
  /** Number of its events in the log. */
  accepted: number
  /** True if it is the producer of this command. */
  isOurs: boolean
}

export interface ProducerClientInit {
  service: Service
  topic: string
  producerId: string
  leaseMs: number
  /** Supersede another producer of the topic. */
  takeOver: boolean
}

/** A call that is not answered within this time, in ms, has failed. */
const CALL_TIMEOUT_MS = 10_000
const STOP_TIMEOUT_MS = 3_000
const STOP_RETRY_MS = 200

/** The calls of one producer for one topic. */
export class ProducerClient {
  readonly url: string
  readonly #stopUrl: string
  readonly #headers: Record<string, string>
  readonly #producerId: string
  readonly #leaseMs: number
  /** Only until this command has acquired the topic: a later producer must not be superseded in turn. */
  #takeOver: boolean

  constructor ({ service, topic, producerId, leaseMs, takeOver }: ProducerClientInit) {
    const path = `/topics/${encodeURIComponent(topic)}`
    this.url = service.urlOf(`${path}/producer`)
    this.#stopUrl = service.urlOf(`${path}/stop`)
    this.#headers = service.headers
    this.#producerId = producerId
    this.#leaseMs = leaseMs
    this.#takeOver = takeOver
  }

  /** Publishes NDJSON whose first line is the event with this number. Settles as `sendLive` does. */
  async send (body: AsyncIterable<string>, after: number, signal: AbortSignal): Promise<Answer> {
    const headers = {
      ...this.#headers,
      'content-type': 'application/x-ndjson',
      'producer-id': this.#producerId,
      'producer-after': `${after}`
    }
    const query = `?leaseMs=${this.#leaseMs}${this.#takeOver ? '&takeOver=true' : ''}`
    return sendLive(this.url + query, headers, body, signal)
  }

  /**
   * True if the response confirms that the body is in the log, including its end. Throws if the response is not from
   * the service.
   */
  isDone (answer: Answer | RequestError): boolean {
    if (answer instanceof RequestError || answer.status !== 200) return false
    if (parse(answer.text).reason === 'done') return true
    throw new CommandError('published, but the answer is not one of the service: is this resumable-sse?')
  }

  /** Returns the producer of the topic; undefined if the service does not answer. Never rejects. */
  async look (timeoutMs = CALL_TIMEOUT_MS): Promise<ProducerState | undefined> {
    const answer = await this.#call(this.url, { headers: this.#headers }, timeoutMs)
    const { state, producerId, lease, accepted } = answer?.status === 200 ? parse(answer.text) : {}
    if (state === undefined || accepted === undefined) return undefined
    const isOurs = producerId === this.#producerId
    if (isOurs) this.#takeOver = false
    return { state, lease: lease ?? null, accepted, isOurs }
  }

  /**
   * Closes the topic as stopped if this command is its producer; resolves to false if that is uncertain. Never rejects.
   */
  async stop (): Promise<boolean> {
    const state = await this.look(STOP_TIMEOUT_MS)
    if (!state?.isOurs) return false
    if (await this.#requestStop(state.lease ?? 0)) await this.#continueUntilStopped(state.accepted)
    return (await this.look(STOP_TIMEOUT_MS))?.state === 'stopped'
  }

  /** True when the service has stored that this lease must stop. Repeats the request until it is answered. */
  async #requestStop (lease: number): Promise<boolean> {
    const headers = { ...this.#headers, 'content-type': 'application/json' }
    const init = { method: 'POST', headers, body: JSON.stringify({ lease }) }
    const end = performance.now() + STOP_TIMEOUT_MS
    for (let leftMs = STOP_TIMEOUT_MS; leftMs > 0; leftMs = end - performance.now()) {
      const answer = await this.#call(this.#stopUrl, init, leftMs)
      if (answer && !isTemporary(answer)) return answer.status === 200 && parse(answer.text).stopped === true
      await setTimeout(STOP_RETRY_MS)
    }
    return false
  }

  /**
   * The request of the producer has ended, so nothing has received the stop: it applies to whoever continues. The
   * service ends this body. It must not end by itself: without the stop that would close the topic as done.
   */
  async #continueUntilStopped (accepted: number): Promise<void> {
    const signal = AbortSignal.timeout(STOP_TIMEOUT_MS)
    await this.send(endless(signal), accepted, signal).catch(() => {})
  }

  async #call (url: string, init: RequestInit, timeoutMs: number): Promise<Answer | undefined> {
    return request(url, { ...init, signal: AbortSignal.timeout(Math.ceil(timeoutMs)) }).catch(() => undefined)
  }
}

/** Yields nothing, and rejects when the signal aborts. */
async function * endless (signal: AbortSignal): AsyncGenerator<string> {
  await once(signal, 'abort')
  throw signal.reason
}

type Body = Partial<ProducerState> & { producerId?: string | null, reason?: string, stopped?: boolean }

/** The response may come from a proxy, in any format. */
function parse (text: string): Body {
  try {
    return (JSON.parse(text) ?? {}) as Body
  } catch {
    return {}
  }
}
