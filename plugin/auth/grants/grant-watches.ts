import { guardCallback } from '../../common/callback.ts'
import type { CallbackLogger } from '../../common/callback.ts'
import type { Grant } from './grant.ts'

interface Watch {
  readonly grant: Grant
  readonly onRevoked: () => void
}

/** Callbacks for revoked grants on which something other than a stream depends. */
export class GrantWatches {
  /** By subject and by session. */
  readonly #watches = new Map<string, Set<Watch>>()
  readonly #log: CallbackLogger

  constructor (log: CallbackLogger) {
    this.#log = log
  }

  /** Calls back at most once. Returns a function that stops watching; calling it again does nothing. */
  add (grant: Grant, onRevoked: () => void): () => void {
    const watch = { grant, onRevoked }
    for (const key of keysOf(grant)) this.#watches.set(key, (this.#watches.get(key) ?? new Set()).add(watch))
    return () => this.#remove(watch)
  }

  revokeSubject (subject: string, isRevoked: (grant: Grant) => boolean): void {
    this.#revoke(subjectKey(subject), isRevoked)
  }

  revokeSession (session: string): void {
    this.#revoke(sessionKey(session), () => true)
  }

  #revoke (key: string, isRevoked: (grant: Grant) => boolean): void {
    for (const watch of [...this.#watches.get(key) ?? []]) {
      if (!isRevoked(watch.grant)) continue
      this.#remove(watch)
      this.call(watch.onRevoked)
    }
  }

  /** Calls a callback; its exception is logged. */
  call (onRevoked: () => void): void { guardCallback(this.#log, 'onRevoked callback', onRevoked) }

  #remove (watch: Watch): void {
    for (const key of keysOf(watch.grant)) {
      const watches = this.#watches.get(key)
      watches?.delete(watch)
      if (watches?.size === 0) this.#watches.delete(key)
    }
  }
}

const subjectKey = (subject: string): string => `subject ${subject}`
const sessionKey = (session: string): string => `session ${session}`

function keysOf ({ subject, session }: Grant): string[] {
  return session === undefined ? [subjectKey(subject)] : [subjectKey(subject), sessionKey(session)]
}
