const KEY = 'resumable-sse:console-token'

/**
 * The token of the page's user, in the memory of the page; in the sessionStorage of the tab as well, if the user asks
 * for it. It is in no URL and in no log.
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

  /** Headers of a request. */
  headers (): Record<string, string> {
    return this.isSet ? { authorization: `Bearer ${this.#token}` } : {}
  }
}

/** A browser may deny a page its storage. */
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
    // It is then kept until the page is closed.
  }
}
