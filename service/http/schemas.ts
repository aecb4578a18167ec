import type { FastifyInstance } from 'fastify'
import { MAX_RETRY_MS } from 'fastify-resumable-sse'
import { EVENT_PATTERN, KEY_PATTERN, MAX_CURSOR_TOPICS, MAX_LAST, MAX_READ_BYTES, MAX_READ_EVENTS, TOPIC_PATTERN } from 'fastify-resumable-sse/topics'

/**
 * The schemas of all that comes in and goes out, from the same constants as the checks of the other rooms.
 *
 * The first sentence of a description that begins in lower case says what the value must be, and is what a refusal repeats.
 */

const ID = '1795371952569-1'

const error = {
  $id: 'Error',
  title: 'Error',
  description: 'Every refusal. The code and the status are API, the text is not.',
  type: 'object',
  required: ['statusCode', 'code', 'error', 'message'],
  properties: {
    statusCode: { type: 'integer', description: 'The HTTP status' },
    code: { type: 'string', description: 'What is wrong, for programs' },
    error: { type: 'string', description: 'The name of the HTTP status' },
    message: { type: 'string', description: 'What is wrong, for people: the field, its limit and the value seen' }
  },
  examples: [{ statusCode: 400, code: 'TOPICS_BAD_EVENT', error: 'Bad Request', message: 'event: field "data" is missing' }]
} as const

const topic = {
  $id: 'Topic',
  title: 'Name of a topic',
  description: '1 to 200 characters of A-Z a-z 0-9 . _ ~ : @ / - beginning with a letter or digit. In a path a "/" is written %2F.',
  type: 'string',
  pattern: TOPIC_PATTERN,
  examples: ['news']
} as const

const event = {
  $id: 'Event',
  title: 'Event to publish',
  description: 'an object { event?, data, retry? }.',
  type: 'object',
  required: ['data'],
  additionalProperties: false,
  properties: {
    event: { type: 'string', pattern: EVENT_PATTERN, description: 'a name without line ends and NUL, not "open" or "error", and not beginning with "stream.". Absent is "message".' },
    data: { not: { type: 'string', pattern: '\\u0000' }, description: 'any JSON value, as text without NUL. What is not text travels as the JSON that was sent: numbers, the order of keys and white space are kept. At most 1,000 levels deep.' },
    retry: { type: 'integer', minimum: 0, maximum: MAX_RETRY_MS, description: `an integer from 0 to ${MAX_RETRY_MS} (ms). How long clients wait before they reconnect.` }
  },
  examples: [{ data: 'hello' }, { event: 'score', data: { home: 1 }, retry: 5000 }]
} as const

const published = {
  $id: 'Published',
  title: 'What was published',
  type: 'object',
  properties: {
    id: { type: 'string', description: 'Id of the event, when one was published' },
    ids: { type: 'array', items: { type: 'string' }, description: 'Ids of the events of a batch, in their order' }
  },
  examples: [{ id: ID }, { ids: [ID] }]
} as const

const topicInfo = {
  $id: 'TopicInfo',
  title: 'State of a topic',
  type: 'object',
  required: ['topic', 'first', 'last', 'count', 'isClosed', 'reason', 'message', 'producer', 'subscribers'],
  properties: {
    topic: { type: 'string' },
    first: { type: ['string', 'null'], description: 'Id of the oldest event that is kept; null when none is' },
    last: { type: ['string', 'null'], description: 'Id of the newest event ever published; null when there was none' },
    count: { type: 'integer', description: 'Events that are kept' },
    isClosed: { type: 'boolean' },
    reason: {
      type: ['string', 'null'],
      enum: ['closed', 'done', 'stopped', 'failed', 'lost', null],
      description: 'Why the topic was closed; null while it is open'
    },
    message: { type: ['string', 'null'], description: 'What the producer said about its failure' },
    producer: {
      type: ['object', 'null'],
      description: 'The producer that is at work; null when there is none',
      required: ['lease', 'holder', 'accepted', 'remainingMs'],
      properties: {
        lease: { type: 'integer' },
        holder: { type: 'string' },
        accepted: { type: 'integer', description: 'Events that it has published' },
        remainingMs: { type: 'integer', description: 'How long its lease still runs' }
      }
    },
    subscribers: { type: 'integer', description: 'Streams that follow the topic on the process that answers' }
  },
  examples: [{ topic: 'news', first: ID, last: ID, count: 1, isClosed: false, reason: null, message: null, producer: null, subscribers: 0 }]
} as const

const gap = {
  type: 'object',
  description: 'Events that are missing between after and this page, as in stream.gap; absent when none is',
  properties: {
    topic: { type: 'string' },
    reason: { type: 'string', enum: ['trimmed', 'expired', 'unknown', 'fork'] },
    after: { type: ['string', 'null'] },
    resumedAt: { type: ['string', 'null'] },
    missed: { type: 'integer' }
  }
} as const

const topicPage = {
  $id: 'TopicPage',
  title: 'Page of a topic',
  type: 'object',
  required: ['events', 'cursor', 'isClosed'],
  properties: {
    events: {
      type: 'array',
      items: {
        type: 'object',
        required: ['id', 'topic', 'data'],
        properties: {
          id: { type: 'string' },
          topic: { type: 'string' },
          event: { type: 'string', description: 'Absent when it was published without a name' },
          data: { type: 'string', description: 'The data as text; JSON when it was published as anything else' },
          retry: { type: 'integer' }
        }
      }
    },
    gap,
    cursor: { type: 'string', description: 'Where the page ends: after of the next page, or lastEventId of a stream of this topic' },
    isClosed: { type: 'boolean', description: 'True when the topic is closed and the page reaches its end' }
  },
  examples: [{ events: [{ id: ID, topic: 'news', data: 'hello' }], cursor: ID, isClosed: false }]
} as const

const topicList = {
  $id: 'TopicList',
  title: 'Topics of a process',
  type: 'object',
  required: ['topics', 'total'],
  properties: {
    topics: {
      type: 'array',
      items: {
        type: 'object',
        required: ['topic', 'last', 'subscribers'],
        properties: {
          topic: { type: 'string' },
          last: { type: ['string', 'null'], description: 'Id of the newest event that the process knows; null when it knows none' },
          subscribers: { type: 'integer', description: 'Streams that follow the topic on this process' }
        }
      }
    },
    total: { type: 'integer', description: 'How many topics there are without a limit' }
  },
  examples: [{ topics: [{ topic: 'news', last: ID, subscribers: 1 }], total: 1 }]
} as const

const streamList = {
  $id: 'StreamList',
  title: 'Open streams of a process',
  type: 'object',
  required: ['open', 'lagging', 'streams'],
  properties: {
    open: { type: 'integer', description: 'All open streams of the process' },
    lagging: { type: 'integer', description: 'How many of them read the log or wait for a slow client' },
    streams: {
      type: 'array',
      items: {
        type: 'object',
        required: ['topics', 'ageMs', 'events', 'bytes', 'behind', 'waitingBytes'],
        properties: {
          topics: { type: 'array', items: { type: 'string' } },
          subject: { type: 'string', description: 'Who listens: told to the subject itself, and to those who may revoke' },
          ageMs: { type: 'integer', description: 'How long it has been open, in ms' },
          events: { type: 'integer', description: 'Events written to it' },
          bytes: { type: 'integer', description: 'Bytes written to it, heartbeats included' },
          behind: { type: 'integer', description: 'Events of its topics that were not written to it yet' },
          waitingBytes: { type: 'integer', description: 'Bytes written that the client has not accepted yet' }
        }
      }
    }
  },
  examples: [{ open: 1, lagging: 0, streams: [{ topics: ['news'], ageMs: 5000, events: 2, bytes: 180, behind: 0, waitingBytes: 0 }] }]
} as const

/** Adds the schemas that others refer to. */
export function addSchemas (app: FastifyInstance): void {
  for (const schema of [error, topic, event, published, topicInfo, topicPage, topicList, streamList]) app.addSchema(schema)
}

/** The path of a topic. */
export const topicParams = { type: 'object', required: ['topic'], properties: { topic } } as const

/** The query of the stream, after it was read: `topic` is a list, `last` a number. */
export const streamQuery = {
  type: 'object',
  required: ['topic'],
  additionalProperties: false,
  properties: {
    topic: { type: 'array', minItems: 1, maxItems: MAX_CURSOR_TOPICS, items: { $ref: 'Topic#' }, description: `1 to ${MAX_CURSOR_TOPICS} topics, as in ?topic=news&topic=weather.`, examples: [['news']] },
    lastEventId: { type: 'string', description: 'a cursor. For clients that cannot set the header Last-Event-ID, which wins. Given several times, the last one that is a cursor counts. One that cannot be read is reported in the stream.', examples: [ID] },
    since: { type: 'string', pattern: '^\\d{1,9}(?:ms|s|m|h|d)$', description: 'a duration such as 30s, 10m, 2h or 1d, up to 366d. A client without a cursor begins with the events of this time. Not together with last.', examples: ['10m'] },
    last: { type: 'integer', minimum: 0, maximum: MAX_LAST, description: `an integer from 0 to ${MAX_LAST}. A client without a cursor begins with so many events of each topic. Not together with since.` },
    envelope: { type: 'boolean', description: 'true or false. With true the data of each event is JSON {"topic","id","event","data"}: the topic, the own id of the event, its name, and its data as text.', examples: [true] },
    ot: { type: 'string', description: 'a one-time token. For EventSource, which can send no header.' }
  }
} as const

/** The query of a page, after it was read. */
export const historyQuery = {
  type: 'object',
  additionalProperties: false,
  properties: {
    after: { type: 'string', description: 'a cursor. The id of an event, the cursor of a page, or the Last-Event-ID of a stream. Default: before the oldest event that is kept.', examples: [ID] },
    limit: { type: 'integer', minimum: 1, maximum: MAX_READ_EVENTS, description: `an integer from 1 to ${MAX_READ_EVENTS}. The largest number of events, 100 by default.`, examples: [50] },
    maxBytes: { type: 'integer', minimum: 1, maximum: MAX_READ_BYTES, description: `an integer from 1 to ${MAX_READ_BYTES}. The largest number of bytes of data, 1048576 by default. A first event that is larger comes alone.` }
  }
} as const

/** The query of a list, after it was read. */
export const overviewQuery = {
  type: 'object',
  additionalProperties: false,
  properties: {
    limit: { type: 'integer', minimum: 1, maximum: 1_000, description: 'an integer from 1 to 1000. The largest length of the list, 100 by default.', examples: [50] }
  }
} as const

/** Header of the stream. Anything is taken: what is no cursor is told in band, because any status but 200 ends an EventSource. */
export const streamHeaders = {
  type: 'object',
  properties: { 'last-event-id': { type: 'string', description: 'The cursor of a client that comes back; EventSource sends it by itself.', examples: [ID] } }
} as const

/** Header of a publish. */
export const publishHeaders = {
  type: 'object',
  properties: {
    'idempotency-key': { type: 'string', pattern: KEY_PATTERN, description: '1 to 128 printable ASCII characters. A publish that is repeated with it adds nothing and returns the first ids; with other events it is an error. Keys belong to the topic and to the subject that publishes.', examples: ['order-17'] }
  }
} as const

/** Bodies of a publish, by their type. */
export function publishBody ({ maxArrayEvents, maxBatchEvents }: { maxArrayEvents: number, maxBatchEvents: number }) {
  const batch = (maxItems: number) => ({ type: 'array', minItems: 1, maxItems, items: { $ref: 'Event#' }, description: `1 to ${maxItems} events, of which all are published or none.` })
  return {
    content: {
      'application/json': {
        schema: {
          title: 'One event or a batch',
          if: { type: 'array', items: {} },
          then: batch(maxArrayEvents),
          else: { $ref: 'Event#' },
          'x-examples': { event: { value: event.examples[0] }, json: { value: event.examples[1] }, batch: { value: event.examples } }
        }
      },
      'application/x-ndjson': {
        schema: { ...batch(maxBatchEvents), title: 'A batch, one event per line', 'x-examples': { batch: { value: event.examples.map(event => JSON.stringify(event) + '\n').join('') } } }
      },
      'text/plain': {
        schema: { type: 'string', not: { pattern: '\\u0000' }, title: 'The data of one event', description: 'text without NUL. It travels as it is.', 'x-examples': { text: { value: 'hello' } } }
      }
    }
  }
}

/** What each refusal means, by its status. */
const REFUSALS = {
  400: 'The request is malformed; nothing was done.',
  401: 'Credentials are missing or bad; the message says what to do.',
  403: 'The credentials do not allow it for this topic, or not from this page.',
  406: 'The Accept header names no type that the call answers with.',
  408: 'The request did not come to its end in time.',
  409: 'The topic is closed.',
  413: 'A body or an event is too large.',
  415: 'The body is of a type, or encoded in a way, that is not taken.',
  421: 'The Host header names no host that is served.',
  422: 'The idempotency key was already used for other events; nothing was added.',
  429: 'Too many publishes, tokens or streams for now; Retry-After says when to come back where that is known.',
  500: 'Something failed that nobody expected.',
  503: 'The log cannot be reached, or the process takes no more for now; nothing was acknowledged.'
} as const

/** The refusals of a call, for its responses; 500 is among those of every call. */
export function refusals (...statuses: (keyof typeof REFUSALS)[]) {
  return Object.fromEntries([...statuses, 500 as const].map(status => [status, { $ref: 'Error#', description: REFUSALS[status] }]))
}
