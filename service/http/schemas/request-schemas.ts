import { MAX_CURSOR_TOPICS, MAX_LAST, MAX_READ_BYTES, MAX_READ_EVENTS, KEY_PATTERN } from 'fastify-resumable-sse/topics'
import { event, ID, topic } from './schemas.ts'

/** The path of a topic. */
export const topicParams = { type: 'object', required: ['topic'], properties: { topic } } as const

/** The query of the stream, after it was parsed: `topic` is a list, `last` a number. */
export const streamQuery = {
  type: 'object',
  required: ['topic'],
  additionalProperties: false,
  properties: {
    topic: {
      type: 'array',
      minItems: 1,
      maxItems: MAX_CURSOR_TOPICS,
      items: { $ref: 'Topic#' },
      description: `1 to ${MAX_CURSOR_TOPICS} topics, as in ?topic=news&topic=weather.`,
      examples: [['news']]
    },
    lastEventId: {
      type: 'string',
      description:
        'a cursor. For clients that cannot set the header Last-Event-ID, which takes precedence. ' +
        'If it is repeated, the last valid cursor counts. An invalid cursor is reported in the stream.',
      examples: [ID]
    },
    since: {
      type: 'string',
      pattern: '^\\d{1,9}(?:ms|s|m|h|d)$',
      description:
        'a duration such as 30s, 10m, 2h or 1d, up to 366d. ' +
        'A client without a cursor begins with the events of this time. Cannot be combined with last.',
      examples: ['10m']
    },
    last: {
      type: 'integer',
      minimum: 0,
      maximum: MAX_LAST,
      description:
        `an integer from 0 to ${MAX_LAST}. A client without a cursor begins with this many events of each topic. ` +
        'Cannot be combined with since.'
    },
    envelope: {
      type: 'boolean',
      description:
        'true or false. If true, the data of each event is JSON {"topic","id","event","data"}: ' +
        'the topic, the id of the event itself, its name, and its data as text.',
      examples: [true]
    },
    starting_after: {
      type: 'integer',
      minimum: 0,
      maximum: Number.MAX_SAFE_INTEGER,
      description:
        'an integer from 0. With a single topic, a client without a cursor continues after the event with this ' +
        'number, the part of its id after the hyphen; 0 is before the first event. ' +
        'Cannot be combined with lastEventId, since and last.',
      examples: [0]
    },
    control: {
      type: 'string',
      enum: ['in-band', 'none'],
      description:
        'in-band or none. With none the stream contains no events named stream.*, for clients of other protocols: ' +
        'missing events are the error 410, or break the stream off, and a client with nothing to wait for gets 204. ' +
        'Cannot be combined with envelope.',
      examples: ['none']
    },
    final: {
      type: 'string',
      minLength: 1,
      maxLength: 1_000,
      not: { pattern: '\\u0000' },
      description:
        '1 to 1000 characters. With control=none, the data of a last event without an id, ' +
        'such as [DONE], which is sent when all topics have ended as done.'
    },
    ot: { type: 'string', description: 'a one-time token. For EventSource, which cannot send headers.' }
  }
} as const

/** The query of a page, after it was parsed. */
export const historyQuery = {
  type: 'object',
  additionalProperties: false,
  properties: {
    after: {
      type: 'string',
      description:
        'a cursor. The id of an event, the cursor of a page, or the Last-Event-ID of a stream. ' +
        'Default: before the oldest retained event.',
      examples: [ID]
    },
    limit: {
      type: 'integer',
      minimum: 1,
      maximum: MAX_READ_EVENTS,
      description: `an integer from 1 to ${MAX_READ_EVENTS}. The maximum number of events, 100 by default.`,
      examples: [50]
    },
    maxBytes: {
      type: 'integer',
      minimum: 1,
      maximum: MAX_READ_BYTES,
      description:
        `an integer from 1 to ${MAX_READ_BYTES}. The maximum number of bytes of names and data, ` +
        'where each event counts for another 32 bytes; 1048576 by default. ' +
        'If the first event is larger, the page consists of it alone.'
    }
  }
} as const

/** The query of a list, after it was parsed. */
export const overviewQuery = {
  type: 'object',
  additionalProperties: false,
  properties: {
    limit: {
      type: 'integer',
      minimum: 1,
      maximum: 1_000,
      description: 'an integer from 1 to 1000. The maximum length of the list, 100 by default.',
      examples: [50]
    }
  }
} as const

/**
 * Header of the stream. Any value is accepted: an invalid cursor is reported in band, because any status except 200
 * ends an EventSource.
 */
export const streamHeaders = {
  type: 'object',
  properties: {
    'last-event-id': {
      type: 'string',
      description: 'The cursor of a client that reconnects; EventSource sends it automatically.',
      examples: [ID]
    }
  }
} as const

/** Headers of a publish. */
export const publishHeaders = {
  type: 'object',
  properties: {
    'idempotency-key': {
      type: 'string',
      pattern: KEY_PATTERN,
      description:
        '1 to 128 printable ASCII characters. Repeating a publish with the same key adds nothing and returns the ids ' +
        'of the first one; with different events it is an error. ' +
        'Keys are separate for each topic and publishing subject.',
      examples: ['order-17']
    }
  }
} as const

/** Bodies of a publish, by media type. */
export function publishBody ({ maxArrayEvents, maxBatchEvents }: { maxArrayEvents: number, maxBatchEvents: number }) {
  const batch = (maxItems: number) => ({
    type: 'array',
    minItems: 1,
    maxItems,
    items: { $ref: 'Event#' },
    description: `1 to ${maxItems} events, which are published atomically.`
  })
  return {
    content: {
      'application/json': {
        schema: {
          title: 'One event or a batch',
          if: { type: 'array', items: {} },
          then: batch(maxArrayEvents),
          else: { $ref: 'Event#' },
          'x-examples': {
            event: { value: event.examples[0] },
            json: { value: event.examples[1] },
            batch: { value: event.examples }
          }
        }
      },
      'application/x-ndjson': {
        schema: {
          ...batch(maxBatchEvents),
          title: 'A batch, one event per line',
          'x-examples': { batch: { value: event.examples.map(event => JSON.stringify(event) + '\n').join('') } }
        }
      },
      'text/plain': {
        schema: {
          type: 'string',
          not: { pattern: '\\u0000' },
          title: 'The data of one event',
          description: 'text without NUL. It is delivered unchanged.',
          'x-examples': { text: { value: 'hello' } }
        }
      }
    }
  }
}
