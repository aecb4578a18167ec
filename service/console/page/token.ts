const KEY = 'resumable-sse:console-token'

/**
 * The token of the page's user, kept in the memory of the page and, if the user asks for it, in the sessionStorage of
 * the tab. It is never put into a URL or a log.
 */
export class PageToken {
  #token = readStorage() ?? ''
  readonly #listeners: (() => void)[] = []

  get value (): string { return this.#token }
  get isSet (): boolean { return this.#token !== '' }

  set (token: string, isRemembered: boolean): void {
    this.#token = token.trim().replace(/^Bearer\s+/i, '')
    writeStorage(isRemembered ? this.#token : '')
    for (const listener of this.#listeners) listener()
  }

  onChange (listener: () => void): void {
    this.#listeners.push(listener)
  }

  /** The authentication headers of a request. */
  headers (): Record<string, string> {
    return this.isSet ? { authorization: `Bearer ${this.#token}` } : {}
  }
}

/** A browser may deny a page access to its storage. */
function readStorage (): string | undefined {
  try {
    return sessionStorage.getItem(KEY) ?? undefined
  } catch {
    return undefined
  }
}

function writeStorage (token: string): void {
  try {
    if (token === '') sessionStorage.removeItem(KEY)
    else sessionStorage.setItem(KEY, token)
  } catch {
    // The token is then kept only until the page is closed.
  }
}
