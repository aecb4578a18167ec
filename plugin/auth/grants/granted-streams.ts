import type { OpenStreams } from '../../reply/stream/open-streams.ts'
import type { SseStream } from '../../reply/stream/sse-stream.ts'
import { startExpiry } from './expiry.ts'
import type { Grant } from './grant.ts'

/** The state of a stream that depends on a grant. */
export interface GrantedStreamInit {
  readonly stream: SseStream
  /** The current grant: a cookie may be prolonged while its stream is open. */
  grant: Grant
  /** Asks the application again; null revokes the grant. Undefined if there is no application function to ask. */
  readonly askAgain: (() => Promise<Grant | null>) | undefined
}

/** A stream that depends on a grant. */
export interface GrantedStream extends GrantedStreamInit {
  /** Its turn among the streams of its session; undefined without a session, or if it is not known yet. */
  turn: number | undefined
  /** The latest turn of its session that was announced. */
  latestTurn: number
  stopExpiry: () => void
}

/**
 * The streams of one app that depend on grants. Each ends when its grant expires. The indexes of `app.sse.streams` find
 * those of a session or subject, so that when thousands of clients reconnect, each announcement concerns only the
 * streams of one session.
 */
export class GrantedStreams implements Iterable<GrantedStream> {
  readonly #all: OpenStreams
  readonly #warningMs: number
  readonly #granted = new Map<SseStream, GrantedStream>()

  /** Clients are warned `warningMs` before the end; 0 disables the warning. */
  constructor (all: OpenStreams, warningMs: number) {
    this.#all = all
    this.#warningMs = warningMs
    all.onClose((_reason, stream) => this.#remove(stream))
  }

  get size (): number { return this.#granted.size }

  /** Adds a stream; it is removed when it closes. */
  add (init: GrantedStreamInit): GrantedStream {
    const open: GrantedStream = { ...init, turn: undefined, latestTurn: 0, stopExpiry: nothing }
    if (!open.stream.isOpen) return open
    this.#granted.set(open.stream, open)
    this.#startExpiry(open)
    return open
  }

  /** Assigns a stream its turn in its session; the stream ends if a later turn was already announced. */
  takeTurn (open: GrantedStream, turn: number): void {
    open.turn = turn
    endIfSuperseded(open)
  }

  /** Ends the streams of a session with an earlier turn; a stream without a turn remembers this one. */
  supersede (session: string, turn: number): void {
    for (const open of this.#among(this.#all.ofSession(session))) {
      open.latestTurn = Math.max(open.latestTurn, turn)
      endIfSuperseded(open)
    }
  }

  /** Replaces the grant of a stream by another one of the same subject, with a new expiry. */
  renew (open: GrantedStream, grant: Grant): void {
    if (!open.stream.isOpen) return
    open.grant = grant
    open.stopExpiry()
    this.#startExpiry(open)
  }

  /**
   * Ends the streams of a session with reason `revoked`. Nothing is sent in band: a client that reconnects gets 401.
   */
  revokeSession (session: string): void {
    for (const { stream } of this.#among(this.#all.ofSession(session))) stream.close('revoked')
  }

  /** Ends the streams of a subject whose grants match, with reason `revoked`. */
  revokeSubject (subject: string, isRevoked: (grant: Grant) => boolean): void {
    for (const { stream, grant } of this.#among(this.#all.ofSubject(subject))) {
      if (isRevoked(grant)) stream.close('revoked')
    }
  }

  /**
   * Sessions of streams that have a turn. A stream without a turn has not redeemed its token: its session may not exist
   * yet.
   */
  sessions (): Set<string> {
    const sessions = new Set<string>()
    for (const { turn, grant: { session } } of this) {
      if (turn !== undefined && session !== undefined) sessions.add(session)
    }
    return sessions
  }

  [Symbol.iterator] (): Iterator<GrantedStream> {
    return this.#granted.values()
  }

  /** Excludes streams that are not admitted yet: their grant is checked on admission. */
  * #among (streams: Iterable<SseStream>): Iterable<GrantedStream> {
    for (const stream of streams) {
      const open = this.#granted.get(stream)
      if (open !== undefined) yield open
    }
  }

  #startExpiry (open: GrantedStream): void {
    const { stream, grant: { expiresAtMs } } = open
    if (expiresAtMs !== undefined) open.stopExpiry = startExpiry(stream, expiresAtMs, this.#warningMs)
  }

  #remove (stream: SseStream): void {
    this.#granted.get(stream)?.stopExpiry()
    this.#granted.delete(stream)
  }
}

const nothing = (): void => {}

function endIfSuperseded ({ stream, turn, latestTurn }: GrantedStream): void {
  if (turn !== undefined && turn < latestTurn) stream.close('revoked')
}
