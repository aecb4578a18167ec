import { browser } from './browser.ts'

/** Characters of a topic's hash that stand for it in a cursor. */
const TAG_LENGTH = 6
const PLAIN = /^(\d{1,16})-(\d{1,16})$/

/**
 * What stands for a topic in a cursor of several topics. Undefined where the page has no SHA-256, as it is served
 * neither over HTTPS nor from localhost.
 */
export async function tagOf (topic: string): Promise<string | undefined> {
  // Absent outside secure contexts, whatever the types say.
  const { subtle } = globalThis.crypto as { subtle?: typeof globalThis.crypto.subtle }
  if (subtle === undefined) return undefined
  return base64Url(new Uint8Array(await subtle.digest('SHA-256', new TextEncoder().encode(topic)))).slice(0, TAG_LENGTH)
}

/** The plain id of an only topic, as a position in a cursor of several. Anything else as it is. */
export function positionOf (tag: string, cursor: string): string {
  const [, ms, n] = PLAIN.exec(cursor) ?? []
  return ms === undefined ? cursor : `${tag}${Number(ms).toString(36)}-${Number(n).toString(36)}`
}

function base64Url (bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes)).replaceAll('+', '-').replaceAll('/', '_')
}

/**
 * Where a cursor is kept over reloads of the page: in the sessionStorage, which belongs to one tab. Without it nothing
 * is kept.
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

  /** A page may be denied its storage, or it may be full: the subscription goes on without. */
  #try<T> (use: (storage: NonNullable<typeof browser.sessionStorage>) => T): T | undefined {
    try {
      return this.#key !== undefined && browser.sessionStorage ? use(browser.sessionStorage) : undefined
    } catch {
      return undefined
    }
  }
}
