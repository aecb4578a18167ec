import { defineError } from '../common/define-error.ts'
import { FST_SSE_MISSING_PACKAGE } from '../common/peer.ts'

/**
 * All errors of `reply.sse()` and of its options. The `code` and the HTTP status are part of the API, the message is
 * not. A client that disconnects is never an error.
 */
export const errors = {
  /** An export or an option needs a package that is not installed; the message contains its name. */
  FST_SSE_MISSING_PACKAGE,
  /** An option at plugin, route or call level is unknown, of the wrong type or out of range. */
  FST_SSE_BAD_OPTION: defineError('FST_SSE_BAD_OPTION', '%s: option "%s" must be %s, saw %s', 500, TypeError),
  /** Something else already provides `reply.sse`. */
  FST_SSE_CONFLICT: defineError(
    'FST_SSE_CONFLICT',
    'fastify-resumable-sse cannot be registered together with %s: both provide reply.sse. Remove one of them',
    500
  ),
  /** `reply.sse()` was called a second time, or after the reply was sent. */
  FST_SSE_ALREADY_STARTED: defineError(
    'FST_SSE_ALREADY_STARTED',
    'reply.sse() was called, but this reply was already %s',
    500
  ),
  /** The reply's status code allows no body, so no stream can follow it. */
  FST_SSE_BAD_STATUS: defineError(
    'FST_SSE_BAD_STATUS',
    'reply.sse() needs a 2xx status that allows a body, saw %s',
    500
  ),
  /** The client's Accept header does not allow `text/event-stream`. */
  FST_SSE_NOT_ACCEPTABLE: defineError(
    'FST_SSE_NOT_ACCEPTABLE',
    'this resource is text/event-stream, which the Accept header "%s" does not allow',
    406
  ),
  /** An onSend hook wrapped the stream, so that backpressure and flushing would be lost. */
  FST_SSE_WRAPPED: defineError(
    'FST_SSE_WRAPPED',
    'an onSend hook piped the event stream through something else; make that hook skip text/event-stream',
    500
  ),
  /** An async handler called `reply.sse()` and returned nothing, so Fastify would answer with an empty body. */
  FST_SSE_NOT_RETURNED: defineError(
    'FST_SSE_NOT_RETURNED',
    'the async handler of %s called reply.sse() and returned nothing: end it with `return reply`',
    500
  ),
  /** The source given to `reply.sse()` is not of a supported kind. */
  FST_SSE_BAD_SOURCE: defineError('FST_SSE_BAD_SOURCE', 'reply.sse() cannot stream %s', 500, TypeError),
  /** A fetch Response given as source is not a successful `text/event-stream`. */
  FST_SSE_BAD_UPSTREAM: defineError(
    'FST_SSE_BAD_UPSTREAM',
    'the upstream response must be 2xx text/event-stream, saw status %s with content-type %s',
    502
  ),
  /** An upstream event stream contains a block larger than `maxBufferedBytes`. */
  FST_SSE_UPSTREAM_TOO_LARGE: defineError(
    'FST_SSE_UPSTREAM_TOO_LARGE',
    'the upstream sent more than %s bytes without a blank line',
    502
  ),
  /** An event, or one of its fields, cannot be encoded. */
  FST_SSE_BAD_EVENT: defineError('FST_SSE_BAD_EVENT', '%s %s, saw %s', 500, TypeError),
  /** A route requires a grant but is not guarded by authentication. The app does not start. */
  FST_SSE_UNGUARDED: defineError(
    'FST_SSE_UNGUARDED',
    'route %s %s requires a grant, but its requests are not authenticated: ' +
      '`await app.register(auth, …)` before the route is added, in the same scope or a parent of it',
    500
  )
} as const

/** The `code` of an error raised by the plugin; those of authentication are `AuthErrorCode`. */
export type SseErrorCode = keyof typeof errors
