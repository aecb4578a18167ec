import type { SseStream } from '../reply/stream.ts'
import { startExpiry } from './expiry.ts'
import type { Grant } from './grant.ts'

/** What is known of a stream that depends on a grant. */
export interface GrantedStreamInit {
  readonly stream: SseStream
  /** The current grant: a cookie may be prolonged while its stream is open. */
  grant: Grant
  /** Asks the application again; null revokes the grant. Undefined if there is nobody to ask. */
  readonly askAgain: (() => Promise<Grant | null>) | undefined
}

/** A stream that depends on a grant. */
export interface GrantedStream extends GrantedStreamInit {
  /** Its turn among the streams of its session; undefined without a session, or if it is not known yet. */
  turn: number | undefined
  /** The latest turn of its session that was announced. */
  latestTurn: number
}

/**
 * The streams of one app that depend on grants. Each ends when its grant expires. They are indexed by session and by
 * subject: when thousands reconnect, each announcement concerns only the streams of one session.
 */
export class GrantedStreams implements Iterable<GrantedStream> {
  readonly #warningMs: number
  readonly #streams = new Map<GrantedStream, () => void>()
  readonly #bySession = new Map<string, Set<GrantedStream>>()
  readonly #bySubject = new Map<string, Set<GrantedStream>>()

  /** Clients are warned `warningMs` before the end; 0 sends no warning. */
  constructor (warningMs: number) {
    this.#warningMs = warningMs
  }

  get size (): number { return this.#streams.size }

  /** Adds a stream until it is over. */
  add (init: GrantedStreamInit): GrantedStream {
    const open = { ...init, turn: undefined, latestTurn: 0 }
    const { subject, session } = open.grant
    this.#streams.set(open, () => {})
    addTo(this.#bySubject, subject, open)
    if (session !== undefined) addTo(this.#bySession, session, open)
    void open.stream.closed.then(() => this.#remove(open))
    this.#startExpiry(open)
    return open
  }

  /** Gives a stream its turn in its session; the stream ends if a later turn was announced already. */
  takeTurn (open: GrantedStream, turn: number): void {
    open.turn = turn
    endIfSuperseded(open)
  }

  /** Ends the streams of a session with an earlier turn; a stream without a turn remembers this one. */
  supersede (session: string, turn: number): void {
    for (const open of this.#bySession.get(session) ?? []) {
      open.latestTurn = Math.max(open.latestTurn, turn)
      endIfSuperseded(open)
    }
  }

  /** Replaces the grant of a stream by another one of the same subject, with a new expiry. */
  renew (open: GrantedStream, grant: Grant): void {
    if (!open.stream.isOpen) return
    open.grant = grant
    this.#startExpiry(open)
  }

  /**
   * Ends the streams of a session with reason `revoked`. Nothing is sent in band: a client that reconnects gets 401.
   */
  revokeSession (session: string): void {
    for (const open of this.#bySession.get(session) ?? []) open.stream.close('revoked')
  }

  /** Ends the streams of a subject whose grant matches, with the same reason. */
  revokeSubject (subject: string, isRevoked: (grant: Grant) => boolean): void {
    for (const open of this.#bySubject.get(subject) ?? []) if (isRevoked(open.grant)) open.stream.close('revoked')
  }

  /** Sessions whose token has been redeemed. A stream without a turn has not: its session may not have begun. */
  sessions (): Set<string> {
    const redeemed = [...this.#bySession].filter(([, streams]) => [...streams].some(({ turn }) => turn !== undefined))
    return new Set(redeemed.map(([session]) => session))
  }

  [Symbol.iterator] (): Iterator<GrantedStream> {
    return this.#streams.keys()
  }

  #startExpiry (open: GrantedStream): void {
    this.#streams.get(open)?.()
    const { expiresAtMs } = open.grant
    this.#streams.set(
      open,
      expiresAtMs === undefined ? () => {} : startExpiry(open.stream, expiresAtMs, this.#warningMs)
    )
  }

  #remove (open: GrantedStream): void {
    const { subject, session } = open.grant
    this.#streams.get(open)?.()
    this.#streams.delete(open)
    deleteFrom(this.#bySubject, subject, open)
    if (session !== undefined) deleteFrom(this.#bySession, session, open)
  }
}

function addTo (index: Map<string, Set<GrantedStream>>, key: string, open: GrantedStream): void {
  const known = index.get(key)
  if (known) known.add(open)
  else index.set(key, new Set([open]))
}

function deleteFrom (index: Map<string, Set<GrantedStream>>, key: string, open: GrantedStream): void {
  const known = index.get(key)!
  known.delete(open)
  if (known.size === 0) index.delete(key)
}

function endIfSuperseded ({ stream, turn, latestTurn }: GrantedStream): void {
  if (turn !== undefined && turn < latestTurn) stream.close('revoked')
}
