import { defineError } from 'fastify-resumable-sse'

/** Every error of the HTTP surface that is not one of the plugin's or the topics'. */
export const errors = {
  /** A request that the HTTP parser cannot read, or that says something HTTP forbids. */
  SERVICE_BAD_REQUEST: defineError('SERVICE_BAD_REQUEST', 'the request cannot be read: %s', 400),
  /** A query parameter is missing, unknown, given twice or malformed. */
  SERVICE_BAD_QUERY: defineError('SERVICE_BAD_QUERY', 'query parameter "%s" must be %s, saw %s', 400),
  /** A parameter, a header or a body is not as its schema says. */
  SERVICE_BAD_VALUE: defineError('SERVICE_BAD_VALUE', '%s must be %s, saw %s', 400),
  /** A body cannot be decoded: not UTF-8, or not compressed as it says. */
  SERVICE_BAD_BODY: defineError('SERVICE_BAD_BODY', 'the body %s', 400),
  /** A line of NDJSON is not JSON. */
  SERVICE_BAD_LINE: defineError('SERVICE_BAD_LINE', 'line %s must be a JSON object, saw %s', 400),
  /** The process has as many streams as it takes. */
  SERVICE_TOO_MANY_STREAMS: defineError(
    'SERVICE_TOO_MANY_STREAMS',
    'this process takes at most %s streams (MAX_STREAMS), and has them',
    503
  ),
  /** One address has as many streams as it may. */
  SERVICE_TOO_MANY_STREAMS_OF_ADDRESS: defineError(
    'SERVICE_TOO_MANY_STREAMS_OF_ADDRESS',
    'an address may have at most %s streams (MAX_STREAMS_PER_ADDRESS), and this one has them',
    429
  ),
  /** The streams of one subject follow as many topics as they may together. */
  SERVICE_TOO_MANY_TOPICS_OF_SUBJECT: defineError(
    'SERVICE_TOO_MANY_TOPICS_OF_SUBJECT',
    'the streams of a subject may follow at most %s topics together (half of MAX_TOPICS): close some of them',
    429
  ),
  /** The process is on its way out: a new stream should go to another one. */
  SERVICE_DRAINING: defineError('SERVICE_DRAINING', 'this process is shutting down: come back in a moment', 503),
  /** Not every worker told its metrics. */
  SERVICE_METRICS_INCOMPLETE: defineError(
    'SERVICE_METRICS_INCOMPLETE',
    'the metrics of all workers could not be gathered: %s',
    503
  ),
  /** There is nothing at this path. */
  SERVICE_NO_SUCH_PATH: defineError('SERVICE_NO_SUCH_PATH', 'there is nothing at %s', 404),
  /** The path exists, with other methods. */
  SERVICE_METHOD_NOT_ALLOWED: defineError('SERVICE_METHOD_NOT_ALLOWED', '%s takes %s, saw %s', 405),
  /** A request was not sent to its end in time. */
  SERVICE_TIMEOUT: defineError('SERVICE_TIMEOUT', 'the request did not come to its end in time', 408),
  /** The client left before its request was complete. Only ever in the log, at `debug`. */
  SERVICE_ABORTED: defineError('SERVICE_ABORTED', 'the client left before its request was complete', 400),
  /** The bodies that are being received take as much memory together as they may. */
  SERVICE_BUSY: defineError(
    'SERVICE_BUSY',
    'too many bytes of request bodies are being processed (MAX_BODIES_BYTES): try again in a moment',
    503
  ),
  /** A body is larger than its limit. */
  SERVICE_BODY_TOO_LARGE: defineError(
    'SERVICE_BODY_TOO_LARGE',
    'a body must be at most %s bytes, decompressed, saw more',
    413
  ),
  /** A body is of a type that is not taken. */
  SERVICE_BAD_MEDIA_TYPE: defineError('SERVICE_BAD_MEDIA_TYPE', 'content-type must be %s, saw %s%s', 415),
  /** A body is encoded in a way that is not taken. */
  SERVICE_BAD_ENCODING: defineError('SERVICE_BAD_ENCODING', 'content-encoding must be one of %s, saw %s', 415),
  /** The client accepts none of the types that the call answers with. */
  SERVICE_NOT_ACCEPTABLE: defineError('SERVICE_NOT_ACCEPTABLE', 'this call answers with %s, and Accept is %s', 406),
  /** The request expects what the service does not do. */
  SERVICE_BAD_EXPECTATION: defineError('SERVICE_BAD_EXPECTATION', 'expect must be 100-continue, saw %s', 417),
  /** One subject or address publishes too often. */
  SERVICE_TOO_MANY_PUBLISHES: defineError('SERVICE_TOO_MANY_PUBLISHES', 'at most %s publishes a second, saw more', 429),
  /** The request line and the headers are too large. */
  SERVICE_HEADERS_TOO_LARGE: defineError(
    'SERVICE_HEADERS_TOO_LARGE',
    'the request line and the headers must be at most %s bytes together, saw more',
    431
  )
} as const
