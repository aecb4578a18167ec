import { CallError } from '../page/api.ts'
import type { Api } from '../page/api.ts'

/** The interval between requests. */
const POLL_MS = 2_000

export interface PollerListener {
  body (body: unknown): void
  failed (error: CallError): void
}

/** Polls the service while the page is visible, and immediately when the token changes. One request at a time. */
export class Poller {
  readonly #api: Api
  readonly #path: string
  readonly #listener: PollerListener
  #timer: ReturnType<typeof setTimeout> | undefined
  #isAsking = false

  constructor (api: Api, path: string, listener: PollerListener) {
    this.#api = api
    this.#path = path
    this.#listener = listener
    document.addEventListener('visibilitychange', () => this.start())
    api.token.onChange(() => this.start())
  }

  /** Sends a request now, and then repeatedly. */
  start (): void {
    clearTimeout(this.#timer)
    if (document.visibilityState === 'visible' && !this.#isAsking) void this.#ask()
  }

  async #ask (): Promise<void> {
    this.#isAsking = true
    try {
      this.#listener.body((await this.#api.call(this.#path)).body)
    } catch (error) {
      if (!(error instanceof CallError)) throw error
      this.#listener.failed(error)
    } finally {
      this.#isAsking = false
      this.#timer = setTimeout(() => this.start(), POLL_MS)
    }
  }
}
