import { PRODUCER_ID_PATTERN } from 'fastify-resumable-sse/topics'
import { errorResponses } from '../http/schemas/error-schemas.ts'
import { topicParams } from '../http/schemas/request-schemas.ts'
import { event } from '../http/schemas/schemas.ts'

const tags = ['Topics']
const DAY_MS = 24 * 60 * 60 * 1000

const producerState = {
  type: 'object',
  description: 'The producer at work or, of a closed topic, the last one',
  required: ['topic', 'state', 'producerId', 'holder', 'lease', 'accepted', 'silentMs', 'remainingMs', 'message'],
  properties: {
    topic: { type: 'string' },
    state: {
      type: 'string',
      enum: ['none', 'live', 'closed', 'done', 'stopped', 'failed', 'lost'],
      description:
        'none if there has been no producer, live while it holds the topic, otherwise why the topic was closed'
    },
    producerId: { type: ['string', 'null'], description: 'Its Producer-Id; null if it sent none' },
    holder: { type: ['string', 'null'], description: 'A readable name of the producer' },
    lease: { type: ['integer', 'null'], description: 'Identifies the producer for a stop; null if none is at work' },
    accepted: { type: 'integer', description: 'Number of its events that the log has: where to continue' },
    silentMs: { type: ['integer', 'null'], description: 'Time since its lease was renewed' },
    remainingMs: { type: ['integer', 'null'], description: 'How long its lease still runs' },
    message: { type: ['string', 'null'], description: 'What it said about its failure' }
  }
} as const

const headers = {
  type: 'object',
  properties: {
    'producer-id': {
      type: 'string',
      pattern: PRODUCER_ID_PATTERN,
      description:
        '1 to 100 characters of A-Z a-z 0-9 ._~-. A request with the same id continues the producer after its ' +
        'connection was lost. Ids belong to their topic.',
      examples: ['build-17']
    },
    'producer-after': {
      type: 'string',
      pattern: '^\\d{1,15}$',
      description:
        'an integer from 0. With Producer-Id: the number of events of the producer that come before this body. ' +
        'Events of the body that the topic has already are skipped. Default: 0, the body is complete.',
      examples: ['120']
    }
  }
} as const

const querystring = {
  type: 'object',
  additionalProperties: false,
  properties: {
    takeOver: {
      type: 'boolean',
      description: 'true or false. If true, another producer of the topic is superseded.',
      examples: [true]
    },
    leaseMs: {
      type: 'integer',
      minimum: 100,
      maximum: 3_600_000,
      description:
        'an integer from 100 to 3600000. How long the topic waits for a producer that is lost, 30000 by default.',
      examples: [60_000]
    },
    ttlMs: {
      type: 'integer',
      minimum: 100,
      maximum: 366 * DAY_MS,
      description:
        'an integer from leaseMs to 31622400000. How long the topic is kept after the end of the producer. ' +
        'Default: as the retention says.',
      examples: [DAY_MS]
    }
  }
} as const

const lines = event.examples.map(example => JSON.stringify(example) + '\n').join('')
const text = (title: string, description: string, example: string) => (
  { schema: { type: 'string', title, description, 'x-examples': { lines: { value: example } } } }
)

const body = {
  content: {
    'text/plain': text('Text, an event per line', 'Each line is the data of an event.', 'compiling\nlinking\n'),
    'application/x-ndjson': text('JSON, an event per line', 'Each line is an Event as JSON.', lines),
    'text/event-stream': text(
      'The event stream of another server',
      'Names and data are published; ids, retry, comments and stream.* events are not.',
      'event: token\ndata: hello\n\n'
    )
  }
} as const

const ended = {
  type: 'object',
  description: 'The body is complete and in the log, and the topic is closed as done',
  required: ['topic', 'reason', 'accepted'],
  properties: {
    topic: { type: 'string' },
    reason: { type: 'string', enum: ['done'] },
    accepted: { type: 'integer', description: 'Number of events of the producer' }
  },
  examples: [{ topic: 'builds/17', reason: 'done', accepted: 120 }]
} as const

/** The body arrives over time, so that a schema can describe but not check it. */
export const liveSchema = {
  tags,
  summary: 'Publish a body while it arrives',
  description:
    'Publishes each line or event as soon as it arrives, and closes the topic at the end of the body. The header ' +
    'Producer-Accepted of every response has the number of events that the log has of the producer.',
  params: topicParams,
  headers,
  querystring,
  body,
  response: { 200: ended, ...errorResponses(400, 401, 403, 408, 409, 413, 415, 421, 429, 503) }
}

export const lookSchema = {
  tags,
  operationId: 'getProducer',
  summary: 'Get the producer of a topic',
  description: 'Where a producer that lost its connection continues, and how the topic ended.',
  params: topicParams,
  response: { 200: producerState, ...errorResponses(400, 401, 403, 421, 503) }
}

export const stopSchema = {
  tags,
  operationId: 'stopProducer',
  summary: 'Stop the producer of a topic',
  description: 'Stops it on whichever process it runs. With a lease only that very producer.',
  params: topicParams,
  body: {
    type: 'object',
    additionalProperties: false,
    properties: {
      lease: {
        type: 'integer',
        minimum: 0,
        maximum: Number.MAX_SAFE_INTEGER,
        description: 'the lease of the producer. Default: whichever is at work.'
      }
    },
    examples: [{}, { lease: 1_795_371_952_569 }]
  },
  response: {
    200: {
      type: 'object',
      description: 'Whether a producer was asked to stop; false if there is none, or the lease is over',
      required: ['stopped'],
      properties: { stopped: { type: 'boolean' } }
    },
    ...errorResponses(400, 401, 403, 413, 415, 421, 429, 503)
  }
}
