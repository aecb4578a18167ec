import { defineError } from 'fastify-resumable-sse'

/** Every error of the HTTP API that comes neither from the plugin nor from the topics. */
export const errors = {
  /** The HTTP parser rejects the request, or the request violates HTTP. */
  SERVICE_BAD_REQUEST: defineError('SERVICE_BAD_REQUEST', 'the request cannot be read: %s', 400),
  /** A query parameter is missing, unknown, repeated or malformed. */
  SERVICE_BAD_QUERY: defineError('SERVICE_BAD_QUERY', 'query parameter "%s" must be %s, saw %s', 400),
  /** A parameter, a header or a body does not match its schema. */
  SERVICE_BAD_VALUE: defineError('SERVICE_BAD_VALUE', '%s must be %s, saw %s', 400),
  /** A body cannot be decoded: it is not UTF-8, or not compressed as declared. */
  SERVICE_BAD_BODY: defineError('SERVICE_BAD_BODY', 'the body %s', 400),
  /** A line of NDJSON is not JSON, or a line is not UTF-8. */
  SERVICE_BAD_LINE: defineError('SERVICE_BAD_LINE', 'line %s must be %s, saw %s', 400),
  /** A line of a live publish is longer than its limit. */
  SERVICE_LINE_TOO_LONG: defineError('SERVICE_LINE_TOO_LONG', 'line %s must be at most %s bytes (%s), saw more', 413),
  /** The client of a live publish sent nothing for too long. */
  SERVICE_PRODUCER_SILENT: defineError('SERVICE_PRODUCER_SILENT', 'the producer sent nothing for %s ms', 408),
  /** The credentials of a live publish expired before its end. */
  SERVICE_PRODUCER_EXPIRED: defineError('SERVICE_PRODUCER_EXPIRED', 'the credentials have expired', 401),
  /** The credentials of a live publish were revoked before its end. */
  SERVICE_PRODUCER_REVOKED: defineError('SERVICE_PRODUCER_REVOKED', 'the credentials were revoked', 401),
  /** The process has the maximum number of live publishes. */
  SERVICE_TOO_MANY_PRODUCERS: defineError(
    'SERVICE_TOO_MANY_PRODUCERS',
    'too many live publishes: this process accepts at most %s (MAX_STREAMS, and half of MAX_TOPICS)',
    503
  ),
  /** One subject, or one address without authentication, has the maximum number of live publishes. */
  SERVICE_TOO_MANY_PRODUCERS_OF_PUBLISHER: defineError(
    'SERVICE_TOO_MANY_PRODUCERS_OF_PUBLISHER',
    'too many live publishes: one publisher may have at most %s (half of what this process accepts)',
    429
  ),
  /** The topic of a live publish ended, or has another producer, before the end of the body. */
  SERVICE_PRODUCER_ENDED: defineError(
    'SERVICE_PRODUCER_ENDED',
    'topic "%s" accepts no more events from this producer: %s',
    409
  ),
  /** The process has the maximum number of streams. */
  SERVICE_TOO_MANY_STREAMS: defineError(
    'SERVICE_TOO_MANY_STREAMS',
    'too many streams: this process accepts at most %s (MAX_STREAMS)',
    503
  ),
  /** One address has the maximum number of streams. */
  SERVICE_TOO_MANY_STREAMS_OF_ADDRESS: defineError(
    'SERVICE_TOO_MANY_STREAMS_OF_ADDRESS',
    'too many streams: an address may have at most %s (MAX_STREAMS_PER_ADDRESS)',
    429
  ),
  /** The streams of one subject follow the maximum number of topics. */
  SERVICE_TOO_MANY_TOPICS_OF_SUBJECT: defineError(
    'SERVICE_TOO_MANY_TOPICS_OF_SUBJECT',
    'the streams of a subject may follow at most %s topics together (half of MAX_TOPICS): close some of them',
    429
  ),
  /** The process is shutting down: a new stream should be opened on another one. */
  SERVICE_DRAINING: defineError('SERVICE_DRAINING', 'this process is shutting down: try again in a moment', 503),
  /** Not every worker reported its metrics. */
  SERVICE_METRICS_INCOMPLETE: defineError(
    'SERVICE_METRICS_INCOMPLETE',
    'the metrics of all workers could not be collected: %s',
    503
  ),
  /** No route for this path. */
  SERVICE_NO_SUCH_PATH: defineError('SERVICE_NO_SUCH_PATH', 'no route for %s', 404),
  /** A one-time token was presented to a call other than the stream; it is not spent. */
  SERVICE_TOKEN_FOR_STREAM: defineError(
    'SERVICE_TOKEN_FOR_STREAM',
    'a one-time token is for GET /events: send other credentials to %s',
    401
  ),
  /** The path exists, but not with this method. */
  SERVICE_METHOD_NOT_ALLOWED: defineError('SERVICE_METHOD_NOT_ALLOWED', '%s allows %s, saw %s', 405),
  /** The request was not complete in time. */
  SERVICE_TIMEOUT: defineError('SERVICE_TIMEOUT', 'the request was not complete in time', 408),
  /** The client disconnected before its request was complete. Logged only, at level `debug`. */
  SERVICE_ABORTED: defineError('SERVICE_ABORTED', 'the client disconnected before its request was complete', 400),
  /** The bodies being received, or the large responses being sent, use the maximum amount of memory. */
  SERVICE_BUSY: defineError(
    'SERVICE_BUSY',
    'too many bytes of request bodies or responses are being processed (MAX_BODIES_BYTES): try again in a moment',
    503
  ),
  /** A body is larger than its limit. */
  SERVICE_BODY_TOO_LARGE: defineError(
    'SERVICE_BODY_TOO_LARGE',
    'the body must be at most %s bytes after decompression, saw more',
    413
  ),
  /** The media type of the body is not supported. */
  SERVICE_BAD_MEDIA_TYPE: defineError('SERVICE_BAD_MEDIA_TYPE', 'content-type must be %s, saw %s%s', 415),
  /** The content encoding of the body is not supported. */
  SERVICE_BAD_ENCODING: defineError('SERVICE_BAD_ENCODING', 'content-encoding must be one of %s, saw %s', 415),
  /** The client accepts none of the media types that the route can return. */
  SERVICE_NOT_ACCEPTABLE: defineError('SERVICE_NOT_ACCEPTABLE', 'Accept must allow %s, saw %s', 406),
  /** The request has an `Expect` that the service does not support. */
  SERVICE_BAD_EXPECTATION: defineError('SERVICE_BAD_EXPECTATION', 'expect must be 100-continue, saw %s', 417),
  /** One subject or address publishes too often. */
  SERVICE_TOO_MANY_PUBLISHES: defineError(
    'SERVICE_TOO_MANY_PUBLISHES',
    'at most %s publishes per second, saw more',
    429
  ),
  /** The request line and the headers are too large. */
  SERVICE_HEADERS_TOO_LARGE: defineError(
    'SERVICE_HEADERS_TOO_LARGE',
    'the request line and the headers must be at most %s bytes together, saw more',
    431
  )
} as const
