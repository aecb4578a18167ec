/** What each error status means. */
const DESCRIPTIONS = {
  400: 'The request is malformed and had no effect.',
  401: 'Credentials are missing or invalid; the message says how to fix it.',
  403: 'The credentials do not allow it for this topic, or not from this origin.',
  406: 'The Accept header allows none of the available media types.',
  408: 'The request was not complete in time.',
  409: 'The topic is closed.',
  410: 'Events after the position of the client are missing, and with control=none the stream cannot report that.',
  413: 'A body or an event is too large.',
  415: 'The media type or the encoding of the body is not supported.',
  421: 'The Host header names a host that the service does not accept.',
  422: 'The idempotency key was already used for other events; nothing was added.',
  429: 'Too many publishes, tokens or streams; Retry-After says when to retry, if known.',
  500: 'Unexpected error.',
  503: 'The log is unavailable, or the process is at a limit; nothing was acknowledged.'
} as const

/** The error responses of a route; 500 is part of every route. */
export function errorResponses (...statuses: (keyof typeof DESCRIPTIONS)[]) {
  return Object.fromEntries(
    [...statuses, 500 as const].map(status => [status, { $ref: 'Error#', description: DESCRIPTIONS[status] }])
  )
}
