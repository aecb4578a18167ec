import { defineError } from '../common/define-error.ts'
import { errors as replyErrors } from '../reply/errors.ts'

/** All errors of authentication. The `code` and the HTTP status are part of the API, the message is not. */
export const errors = {
  /** An option of the auth plugin or of a token store is unknown, of the wrong type or out of range. */
  FST_SSE_BAD_OPTION: replyErrors.FST_SSE_BAD_OPTION,
  /** The grant does not cover a topic, or does not allow to revoke. */
  FST_SSE_FORBIDDEN: defineError('FST_SSE_FORBIDDEN', 'not allowed to %s "%s"', 403),
  /** A one-time token is unknown, spent without its session, revoked, too old or of another origin. */
  FST_SSE_BAD_TOKEN: defineError('FST_SSE_BAD_TOKEN', 'the one-time token is not valid (%s): request a new one', 401),
  /** A one-time token was presented again by the client that redeemed it, whose stream is still open. */
  FST_SSE_TOKEN_BUSY: defineError(
    'FST_SSE_TOKEN_BUSY',
    'the stream of this one-time token is still open: try again when it is over',
    503
  ),
  /** The body of a request to the one-time token routes is invalid. */
  FST_SSE_BAD_BODY: defineError('FST_SSE_BAD_BODY', '%s must be %s, saw %s', 400),
  /** Too many requests, or too many invalid tokens. */
  FST_SSE_TOO_MANY: defineError('FST_SSE_TOO_MANY', 'too many %s from this %s: at most %s in %s s', 429),
  /** The store of tokens, sessions and revocations is currently unavailable. */
  FST_SSE_STORE_UNAVAILABLE: defineError('FST_SSE_STORE_UNAVAILABLE', 'the token store is not available: %s', 503),
  /** The file of the LMDB token store is damaged. */
  FST_SSE_STORE_CORRUPT: defineError(
    'FST_SSE_STORE_CORRUPT',
    'the token store %s is damaged (%s): restore it from a backup, or delete it and sign tokens with a new secret, ' +
      'because its revocations are lost',
    500
  ),
  /**
   * A request without credentials, or with invalid ones. The message says what to do next and never contains a
   * credential.
   */
  FST_SSE_UNAUTHORIZED: defineError('FST_SSE_UNAUTHORIZED', '%s', 401),
  /** A page of an origin that is not listed tried to use credentials that the browser sends automatically. */
  FST_SSE_BAD_ORIGIN: defineError('FST_SSE_BAD_ORIGIN', '%s', 403),
  /** The Host header is not one of the accepted hosts. */
  FST_SSE_BAD_HOST: defineError('FST_SSE_BAD_HOST', 'Host %s is not allowed: %s', 421),
  /** The keys for verifying tokens cannot be fetched. */
  FST_SSE_KEYS_UNAVAILABLE: defineError(
    'FST_SSE_KEYS_UNAVAILABLE',
    'the keys for tokens cannot be fetched: try again later',
    503
  ),
  /** A query about the grant of an open stream was not answered in time. Only logged. */
  FST_SSE_NO_ANSWER: defineError('FST_SSE_NO_ANSWER', 'no answer from %s within %s ms', 503),
  /** A `verify` function of the application returned something that is not a grant. */
  FST_SSE_BAD_GRANT: defineError('FST_SSE_BAD_GRANT', '%s: %s must be %s, saw %s', 500, TypeError)
} as const

/** The `code` of an error raised by authentication. */
export type AuthErrorCode = keyof typeof errors
