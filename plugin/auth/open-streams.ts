import type { SseStream } from '../reply/stream.ts'
import { startExpiry } from './expiry.ts'
import type { Grant } from './grant.ts'

/** What makes a stream one that runs on a grant. */
export interface OpenStreamInit {
  readonly stream: SseStream
  /** The grant as it is now: a cookie may be prolonged while its stream is open. */
  grant: Grant
  /** Asks the application again; null takes the grant back. Undefined where there is nobody to ask. */
  readonly askAgain: (() => Promise<Grant | null>) | undefined
}

/** A stream that runs on a grant. */
export interface OpenStream extends OpenStreamInit {
  /** Its turn among the streams of its session; undefined where there is no session, or it is not known yet. */
  turn: number | undefined
  /** The latest turn that was told of its session. */
  latestTurn: number
}

/** The streams of one app that run on grants. Each ends at its grant's expiry by itself. */
export class OpenStreams implements Iterable<OpenStream> {
  readonly #warningMs: number
  readonly #streams = new Map<OpenStream, () => void>()

  /** `warningMs` before its end a client is told of it; 0 tells none. */
  constructor (warningMs: number) {
    this.#warningMs = warningMs
  }

  get size (): number { return this.#streams.size }

  /** Takes a stream in until it is over. */
  add (init: OpenStreamInit): OpenStream {
    const open = { ...init, turn: undefined, latestTurn: 0 }
    this.#streams.set(open, () => {})
    void open.stream.closed.then(() => this.#remove(open))
    this.#startExpiry(open)
    return open
  }

  /** Gives a stream its turn in its session; it ends when a later one was told of already. */
  takeTurn (open: OpenStream, turn: number): void {
    open.turn = turn
    endIfSuperseded(open)
  }

  /** Ends the streams of a session that had their turn before this one; who does not know its turn yet keeps it in mind. */
  supersede (session: string, turn: number): void {
    for (const open of this) {
      if (open.grant.session !== session) continue
      open.latestTurn = Math.max(open.latestTurn, turn)
      endIfSuperseded(open)
    }
  }

  /** Gives a stream another grant of the same subject; its expiry is the new one from now on. */
  renew (open: OpenStream, grant: Grant): void {
    if (!open.stream.isOpen) return
    open.grant = grant
    this.#startExpiry(open)
  }

  /** Ends the streams this is true of, with reason `revoked`. Nothing is told in the stream: who comes back learns it by a 401. */
  revoke (isRevoked: (open: OpenStream) => boolean): void {
    for (const open of this) if (isRevoked(open)) open.stream.close('revoked')
  }

  [Symbol.iterator] (): Iterator<OpenStream> {
    return [...this.#streams.keys()].values()
  }

  #startExpiry (open: OpenStream): void {
    this.#streams.get(open)?.()
    const { expiresAtMs } = open.grant
    this.#streams.set(open, expiresAtMs === undefined ? () => {} : startExpiry(open.stream, expiresAtMs, this.#warningMs))
  }

  #remove (open: OpenStream): void {
    this.#streams.get(open)?.()
    this.#streams.delete(open)
  }
}

function endIfSuperseded ({ stream, turn, latestTurn }: OpenStream): void {
  if (turn !== undefined && turn < latestTurn) stream.close('revoked')
}
