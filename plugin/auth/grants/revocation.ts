import type { FastifyBaseLogger } from 'fastify'
import { answerInTime } from '../with-timeout.ts'
import type { Grant } from './grant.ts'
import { GrantWatches } from './grant-watches.ts'
import type { GrantedStreams } from './granted-streams.ts'
import { isRevoked } from '../one-time/token-store.ts'
import type { SessionLimits, StoreChange, TokenStore } from '../one-time/token-store.ts'

/** What is revoked: everything a subject was granted before now, or one session. */
export type Revoked = { subject: string, session?: undefined } | { session: string, subject?: undefined }

interface RevocationInit {
  store: TokenStore
  streams: GrantedStreams
  limits: SessionLimits
  /** How long a revoked subject is remembered. */
  revocationMs: number
  /** How long the store may take to respond to a check, in ms. */
  timeoutMs: number
  log: FastifyBaseLogger
}

/** If the list could not be read at the start, reading it is retried after this long. */
const START_AGAIN_MS = 1_000

/**
 * Revocations up to this much older than the latest known one are requested again, because the clocks of servers
 * differ.
 */
const OVERLAP_MS = 60_000

/**
 * Revokes grants on every node. The store notifies each node immediately; `check`, which runs periodically, finds
 * whatever was missed. Each node keeps its own list of revoked subjects, so that requests cause no queries, and an
 * unavailable store rejects nobody. A check asks only for changes since the last one.
 */
export class Revocation {
  readonly #init: RevocationInit
  /** When subjects were revoked, in Unix ms. */
  readonly #subjects = new Map<string, number>()
  readonly #watches: GrantWatches
  /**
   * The latest revocation that is no longer remembered: a credential older than that may have been revoked without a
   * record of it.
   */
  #forgottenMs = 0
  #latestMs = 0
  #timer: NodeJS.Timeout | undefined

  constructor (init: RevocationInit) {
    this.#init = init
    this.#watches = new GrantWatches(init.log)
  }

  /** Opens the store; `onResync` is called when changes may have been missed. */
  async start (onResync: () => void): Promise<void> {
    const { store, log } = this.#init
    await store.start(change => change.kind === 'resync' ? onResync() : this.#hear(change), log)
    await this.#startRefresh()
  }

  async stop (): Promise<void> {
    clearTimeout(this.#timer)
    await this.#init.store.stop()
  }

  /**
   * Rejects with 503 `FST_SSE_STORE_UNAVAILABLE` if the store is unavailable; the revocation may have taken effect
   * anyway.
   */
  async revoke ({ subject, session }: Revoked): Promise<void> {
    const { store, revocationMs } = this.#init
    if (session !== undefined) await store.revokeSession(session)
    else await store.revokeSubject(subject, revocationMs)
  }

  /**
   * Calls back once when the grant is revoked, immediately if it already is. Returns a function that stops watching.
   */
  watch (grant: Grant, onRevoked: () => void): () => void {
    if (!this.isRevoked(grant)) return this.#watches.add(grant, onRevoked)
    this.#watches.call(onRevoked)
    return () => {}
  }

  /** As far as this node knows. */
  isRevoked (grant: Grant): boolean {
    return isRevoked(grant, this.#subjects.get(grant.subject))
  }

  /** True for a credential issued before the latest forgotten revocation: that may have been its own. */
  isTooOld ({ issuedAtMs = 0 }: Grant): boolean {
    return this.#forgottenMs > 0 && issuedAtMs <= this.#forgottenMs
  }

  /** Ends the streams of revoked subjects and of sessions that are over, and extends the other sessions. */
  async check (): Promise<void> {
    const { store, streams, limits } = this.#init
    await this.#refresh()
    const sessions = streams.sessions()
    if (sessions.size === 0) return
    const valid = await this.#answer('touch', store.touch([...sessions], limits))
    for (const session of sessions) if (!valid.has(session)) this.#revokeSession(session)
  }

  /** An app may start before its store is available. */
  async #startRefresh (): Promise<void> {
    try {
      await this.#refresh()
    } catch (err) {
      this.#init.log.warn(
        { err },
        'revoked subjects are not known yet; retrying every second'
      )
      this.#timer = setTimeout(() => {
        void this.#startRefresh()
      }, START_AGAIN_MS).unref()
    }
  }

  async #refresh (): Promise<void> {
    const { store } = this.#init
    const [forgottenMs, revoked] = await this.#answer(
      'revokedSubjects',
      Promise.all([store.forgottenMs(), store.revokedSubjects(Math.max(0, this.#latestMs - OVERLAP_MS))])
    )
    this.#forgottenMs = Math.max(this.#forgottenMs, forgottenMs)
    for (const [subject, atMs] of revoked) this.#learn(subject, atMs)
    this.#forgetOld()
  }

  /** The later time counts: the response of the store may be older than a notification that arrived in the meantime. */
  #learn (subject: string, atMs: number): void {
    const known = this.#subjects.get(subject)
    this.#latestMs = Math.max(this.#latestMs, atMs)
    if (known !== undefined && known >= atMs) return
    // Kept sorted by time, so that the oldest are first.
    this.#subjects.delete(subject)
    this.#subjects.set(subject, atMs)
    for (const dependants of [this.#init.streams, this.#watches]) {
      dependants.revokeSubject(subject, grant => this.isRevoked(grant))
    }
  }

  #revokeSession (session: string): void {
    for (const dependants of [this.#init.streams, this.#watches]) dependants.revokeSession(session)
  }

  /** Deletes from the oldest up to the first that has not expired. One that arrived out of order is forgotten later. */
  #forgetOld (): void {
    const since = Date.now() - this.#init.revocationMs
    for (const [subject, atMs] of this.#subjects) {
      if (atMs > since) return
      this.#subjects.delete(subject)
      this.#forgottenMs = Math.max(this.#forgottenMs, atMs)
    }
  }

  /** A store implemented by the application may have no time limits. */
  #answer<T> (call: string, answer: Promise<T>): Promise<T> {
    return answerInTime(`the token store (${call})`, this.#init.timeoutMs, answer)
  }

  #hear (change: Exclude<StoreChange, { kind: 'resync' }>): void {
    const { streams } = this.#init
    switch (change.kind) {
      case 'session revoked': return this.#revokeSession(change.session)
      case 'superseded': return streams.supersede(change.session, change.turn)
      case 'subject revoked': return this.#learn(change.subject, change.atMs)
    }
  }
}
