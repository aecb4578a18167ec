import type { FastifyBaseLogger } from 'fastify'
import { answerInTime } from './answer.ts'
import type { Grant } from './grant.ts'
import type { OpenStreams } from './open-streams.ts'
import { isRevoked } from './one-time/token-store.ts'
import type { SessionLimits, StoreChange, TokenStore } from './one-time/token-store.ts'

/** What is taken back: everything a subject was granted before now, or one session. */
export type Revoked = { subject: string, session?: undefined } | { session: string, subject?: undefined }

interface RevocationInit {
  store: TokenStore
  streams: OpenStreams
  limits: SessionLimits
  /** How long a revoked subject is remembered. */
  revocationMs: number
  /** How long the store may take to answer a check, in ms. */
  timeoutMs: number
  log: FastifyBaseLogger
}

/**
 * Takes grants back on every node. The store tells each of them at once; `check`, run again and again, is the guarantee.
 * Of subjects each node keeps a list of its own, so that a request asks nobody, and a store that is away refuses nobody.
 */
export class Revocation {
  readonly #init: RevocationInit
  /** When subjects were revoked, in Unix ms. */
  readonly #subjects = new Map<string, number>()

  constructor (init: RevocationInit) {
    this.#init = init
  }

  /** Opens the store; `onDoubt` is called when changes may have been missed. */
  async start (onDoubt: () => void): Promise<void> {
    const { store, log } = this.#init
    await store.start(change => change.kind === 'doubt' ? onDoubt() : this.#hear(change), log)
    await this.#refresh().catch((err: unknown) => log.warn({ err }, 'it is not known yet which subjects are revoked'))
  }

  stop (): Promise<void> { return this.#init.store.stop() }

  /** Rejects with 503 `FST_SSE_STORE_UNAVAILABLE` when the store is away; it may have been done all the same. */
  async revoke ({ subject, session }: Revoked): Promise<void> {
    const { store, revocationMs } = this.#init
    if (session !== undefined) await store.revokeSession(session)
    else await store.revokeSubject(subject, revocationMs)
  }

  /** By what this node has heard. */
  isRevoked (grant: Grant): boolean {
    return isRevoked(grant, this.#subjects.get(grant.subject))
  }

  /** Ends the streams of revoked subjects and of sessions that are over, and slides the others on: two questions in all. */
  async check (): Promise<void> {
    const { store, streams, limits } = this.#init
    await this.#refresh()
    // A stream without a turn has not redeemed its token: its session may not have begun.
    const sessions = new Set([...streams].filter(({ turn }) => turn !== undefined).map(({ grant }) => grant.session!))
    if (sessions.size === 0) return
    const valid = await this.#answer('touch', store.touch([...sessions], limits))
    streams.revoke(({ grant: { session } }) => session !== undefined && sessions.has(session) && !valid.has(session))
  }

  async #refresh (): Promise<void> {
    const { store, streams } = this.#init
    const told = await this.#answer('revokedSubjects', store.revokedSubjects())
    this.#forgetOld()
    for (const [subject, atMs] of told) this.#learn(subject, atMs)
    streams.revoke(({ grant }) => this.isRevoked(grant))
  }

  /** The later time counts: what the store answers may be older than what was heard while the answer was on its way. */
  #learn (subject: string, atMs: number): void {
    this.#subjects.set(subject, Math.max(atMs, this.#subjects.get(subject) ?? 0))
  }

  #forgetOld (): void {
    const since = Date.now() - this.#init.revocationMs
    for (const [subject, atMs] of this.#subjects) if (atMs <= since) this.#subjects.delete(subject)
  }

  /** A store of the application's own may have no time limits. */
  #answer<T> (call: string, answer: Promise<T>): Promise<T> {
    return answerInTime(`the token store (${call})`, this.#init.timeoutMs, answer)
  }

  #hear (change: Exclude<StoreChange, { kind: 'doubt' }>): void {
    const { streams } = this.#init
    switch (change.kind) {
      case 'session revoked': return streams.revoke(({ grant }) => grant.session === change.session)
      case 'superseded': return streams.supersede(change.session, change.turn)
      case 'subject revoked':
        this.#learn(change.subject, change.atMs)
        streams.revoke(({ grant }) => this.isRevoked(grant))
    }
  }
}
