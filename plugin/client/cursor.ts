import { browser } from './browser.ts'

/** Number of characters of a topic's hash that identify it in a cursor. */
const TAG_LENGTH = 6
const PLAIN = /^(\d{1,16})-(\d{1,16})$/

/**
 * The tag that identifies a topic in a cursor of several topics. Undefined if the page has no SHA-256, because it was
 * loaded neither over HTTPS nor from localhost.
 */
export async function tagOf (topic: string): Promise<string | undefined> {
  // Missing outside secure contexts, although its type says otherwise.
  const { subtle } = globalThis.crypto as { subtle?: typeof globalThis.crypto.subtle }
  if (subtle === undefined) return undefined
  return base64Url(new Uint8Array(await subtle.digest('SHA-256', new TextEncoder().encode(topic)))).slice(0, TAG_LENGTH)
}

/**
 * Converts the plain id of a single topic to a position in a cursor of several topics. Returns anything else unchanged.
 */
export function positionOf (tag: string, cursor: string): string {
  const [, ms, n] = PLAIN.exec(cursor) ?? []
  return ms === undefined ? cursor : `${tag}${Number(ms).toString(36)}-${Number(n).toString(36)}`
}

function base64Url (bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes)).replaceAll('+', '-').replaceAll('/', '_')
}

/**
 * Keeps a cursor across reloads of the page, in sessionStorage, which is separate for each tab. Without sessionStorage
 * nothing is kept.
 */
export class CursorStorage {
  readonly #key: string | undefined

  constructor (key: string | undefined) {
    this.#key = key === undefined ? undefined : `resumable-sse:${key}`
  }

  read (): string | undefined {
    return this.#try(storage => storage.getItem(this.#key!)) ?? undefined
  }

  write (cursor: string): void {
    this.#try(storage => storage.setItem(this.#key!, cursor))
  }

  /** Access to the storage may be denied, or it may be full: the subscription continues without it. */
  #try<T> (use: (storage: NonNullable<typeof browser.sessionStorage>) => T): T | undefined {
    try {
      return this.#key !== undefined && browser.sessionStorage ? use(browser.sessionStorage) : undefined
    } catch {
      return undefined
    }
  }
}
