/** The token of a subscription: fetched when needed, and kept until it is rejected, or for one connection only. */
export class TokenKeeper {
  readonly #getToken: (() => string | Promise<string>) | undefined
  readonly #isForOneConnection: boolean
  #token: string | undefined
  /** True if the server rejected a token that was just fetched: fetching another one would not help. */
  #isFresh = false

  constructor (getToken: (() => string | Promise<string>) | undefined, isForOneConnection: boolean) {
    this.#getToken = getToken
    this.#isForOneConnection = isForOneConnection
  }

  /** The token for a connection; undefined without `getToken`. Rejects if `getToken` does. */
  async forConnection (): Promise<string | undefined> {
    if (this.#token === undefined) await this.renew()
    // Kept since an earlier attempt, which failed for another reason: it may have expired.
    else this.#isFresh = false
    const token = this.#token
    if (this.#isForOneConnection) this.#token = undefined
    return token
  }

  /** Fetches another token. Resolves to false without `getToken`. */
  async renew (): Promise<boolean> {
    if (!this.#getToken) return false
    this.#token = await this.#getToken()
    return true
  }

  /** The server accepted the token: if it is rejected later, it has expired. */
  accepted (): void {
    this.#isFresh = false
  }

  /**
   * The server responded with 401. Returns true if the next connection will have another token; only once in a row.
   */
  rejected (): boolean {
    if (!this.#getToken || this.#isFresh) return false
    this.#token = undefined
    this.#isFresh = true
    return true
  }
}
