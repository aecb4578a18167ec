import type { FastifyInstance } from 'fastify'
import { MAX_RETRY_MS } from 'fastify-resumable-sse'
import { EVENT_PATTERN, MAX_EVENT_NAME_BYTES, TOPIC_PATTERN } from 'fastify-resumable-sse/topics'

/**
 * The schemas of all requests and responses, with the same constants as the checks elsewhere.
 *
 * If a description begins in lower case, its first sentence states the allowed values, and error messages repeat it.
 */

/** An id for the examples. */
export const ID = '1795371952569-1'

const error = {
  $id: 'Error',
  title: 'Error',
  description: 'Every error response. The code and the status are part of the API, the text is not.',
  type: 'object',
  required: ['statusCode', 'code', 'error', 'message'],
  properties: {
    statusCode: { type: 'integer', description: 'The HTTP status' },
    code: { type: 'string', description: 'The error code, for programs' },
    error: { type: 'string', description: 'The name of the HTTP status' },
    message: { type: 'string', description: 'The error message, for people: the field, its limit and the value seen' }
  },
  examples: [
    { statusCode: 400, code: 'TOPICS_BAD_EVENT', error: 'Bad Request', message: 'event: field "data" is missing' }
  ]
} as const

/** The name of a topic. */
export const topic = {
  $id: 'Topic',
  title: 'Name of a topic',
  description: '1 to 200 characters of A-Z a-z 0-9 . _ ~ : @ / - beginning with a letter or digit. ' +
    'In a path, encode "/" as %2F.',
  type: 'string',
  pattern: TOPIC_PATTERN,
  examples: ['news']
} as const

/** An event to publish. */
export const event = {
  $id: 'Event',
  title: 'Event to publish',
  description: 'an object { event?, data, retry? }.',
  type: 'object',
  required: ['data'],
  additionalProperties: false,
  properties: {
    event: {
      type: 'string',
      pattern: EVENT_PATTERN,
      // In characters; bytes are counted when the event is checked.
      maxLength: MAX_EVENT_NAME_BYTES,
      description:
        `a name of at most ${MAX_EVENT_NAME_BYTES} bytes without line breaks and NUL, not "open" or "error", ` +
        'and not beginning with "stream.". Default: "message".'
    },
    data: {
      not: { type: 'string', pattern: '\\u0000' },
      description:
        'any JSON value, as text without NUL. A value that is not a string is delivered as the JSON that was sent: ' +
        'the format of numbers, the order of keys and white space are kept. At most 1,000 levels deep.'
    },
    retry: {
      type: 'integer',
      minimum: 0,
      maximum: MAX_RETRY_MS,
      description: `an integer from 0 to ${MAX_RETRY_MS} (ms). How long clients wait before they reconnect.`
    }
  },
  examples: [{ data: 'hello' }, { event: 'score', data: { home: 1 }, retry: 5000 }]
} as const

const published = {
  $id: 'Published',
  title: 'Published event ids',
  type: 'object',
  properties: {
    id: { type: 'string', description: 'Id of the event, if one was published' },
    ids: { type: 'array', items: { type: 'string' }, description: 'Ids of the events of a batch, in order' }
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
    first: { type: ['string', 'null'], description: 'Id of the oldest retained event; null if there is none' },
    last: { type: ['string', 'null'], description: 'Id of the newest event ever published; null if there was none' },
    count: { type: 'integer', description: 'Number of retained events' },
    isClosed: { type: 'boolean' },
    reason: {
      type: ['string', 'null'],
      enum: ['closed', 'done', 'stopped', 'failed', 'lost', null],
      description: 'Why the topic was closed; null while it is open'
    },
    message: { type: ['string', 'null'], description: 'The producer\'s error message' },
    producer: {
      type: ['object', 'null'],
      description: 'The active producer; null when there is none',
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
  examples: [
    {
      topic: 'news',
      first: ID,
      last: ID,
      count: 1,
      isClosed: false,
      reason: null,
      message: null,
      producer: null,
      subscribers: 0
    }
  ]
} as const

const gap = {
  type: 'object',
  description: 'Events that are missing between after and this page, as in stream.gap; absent if none are missing',
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
          event: { type: 'string', description: 'Absent if it was published without a name' },
          data: { type: 'string', description: 'The data as text; JSON if it was published as anything else' },
          retry: { type: 'integer' }
        }
      }
    },
    gap,
    cursor: {
      type: 'string',
      description: 'The end of the page: pass it as after of the next page, or as lastEventId of a stream of this topic'
    },
    isClosed: { type: 'boolean', description: 'True if the topic is closed and the page reaches its end' }
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
          last: {
            type: ['string', 'null'],
            description: 'Id of the newest event that the process knows; null when it knows none'
          },
          subscribers: { type: 'integer', description: 'Streams that follow the topic on this process' }
        }
      }
    },
    total: { type: 'integer', description: 'Total number of topics, ignoring `limit`' }
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
          subject: {
            type: 'string',
            description: 'The subject that listens: included for that subject itself, and for those who may revoke'
          },
          ageMs: { type: 'integer', description: 'How long it has been open, in ms' },
          events: { type: 'integer', description: 'Events written to it' },
          bytes: { type: 'integer', description: 'Bytes written to it, heartbeats included' },
          behind: { type: 'integer', description: 'Events of its topics that were not written to it yet' },
          waitingBytes: { type: 'integer', description: 'Bytes written that the client has not accepted yet' }
        }
      }
    }
  },
  examples: [
    {
      open: 1,
      lagging: 0,
      streams: [{ topics: ['news'], ageMs: 5000, events: 2, bytes: 180, behind: 0, waitingBytes: 0 }]
    }
  ]
} as const

/** Adds the schemas that other schemas refer to. */
export function addSchemas (app: FastifyInstance): void {
  for (const schema of [error, topic, event, published, topicInfo, topicPage, topicList, streamList]) {
    app.addSchema(schema)
  }
}
