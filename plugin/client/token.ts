/**
 * The token of a subscription: asked for when it is needed, and kept until it is refused, or for one connection only.
 */
export class TokenKeeper {
  readonly #getToken: (() => string | Promise<string>) | undefined
  readonly #isForOneConnection: boolean
  #token: string | undefined
  /** The server refused the token that was just fetched: fetching another one would not help. */
  #isFresh = false

  constructor (getToken: (() => string | Promise<string>) | undefined, isForOneConnection: boolean) {
    this.#getToken = getToken
    this.#isForOneConnection = isForOneConnection
  }

  /** The token for a connection; undefined without `getToken`. Rejects when `getToken` does. */
  async forConnection (): Promise<string | undefined> {
    if (this.#token === undefined) await this.renew()
    const token = this.#token
    if (this.#isForOneConnection) this.#token = undefined
    return token
  }

  /** Fetches another token. False without `getToken`. */
  async renew (): Promise<boolean> {
    if (!this.#getToken) return false
    this.#token = await this.#getToken()
    return true
  }

  /** The server accepted the token: should it refuse it one day, it is old. */
  accepted (): void {
    this.#isFresh = false
  }

  /** The server answered 401. True when the next connection will have another token, once until one is accepted. */
  rejected (): boolean {
    if (!this.#getToken || this.#isFresh) return false
    this.#token = undefined
    this.#isFresh = true
    return true
  }
}
