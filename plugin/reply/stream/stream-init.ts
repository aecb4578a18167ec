import type { StreamPolicy } from './stream-policy.ts'
import type { RawResponse } from '../response/transport.ts'
import type { WireEvent } from '../wire.ts'

/** Why a stream has ended. A closed union: one log field, one metric label. */
export type CloseReason =
  'end' | 'client' | 'slow' | 'shutdown' | 'expired' | 'revoked' | 'error' | 'lifetime' | 'replaced'

/** The owner of a stream, according to the credential of its request. */
export interface StreamOwner {
  readonly subject: string
  /** The session that a one-time token started; undefined for other credentials. */
  readonly session?: string | undefined
}

/** What a stream needs from its creator. */
export interface StreamInit {
  raw: RawResponse
  /** Undefined if the request was not authenticated. */
  owner?: StreamOwner | undefined
  options: StreamPolicy
  /**
   * Minimum size from which the frames of a gzip body are compressed; undefined if the response is not compressed. It
   * is not compressed either if a hook has removed the header `content-encoding`.
   */
  gzipMinBytes?: number | undefined
  lastEventId: string | undefined
  encode: (event: WireEvent) => Buffer
  /** Throws if the request may not read one of the topics. */
  checkTopics: (topics: readonly string[]) => void
  /**
   * Called when the first bytes are about to be sent, even if they are also the last; not if the client has already
   * disconnected.
   */
  onAttach: () => void
  /** Called once, when the stream has ended, even if it still has to be flushed. */
  onClosed: (reason: CloseReason) => void
  /** Called once, when a stream that was attached has ended. */
  onOver: (reason: CloseReason) => void
  /** Called once, when the response was flushed or the connection closed. */
  onGone: () => void
}
