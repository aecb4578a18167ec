import type { FastifyInstance, FastifySchema } from 'fastify'
import { refusals } from '../http/schemas.ts'

const tags = ['Stream']

/** The calls that authentication brings, by path. */
const SCHEMAS: Partial<Record<string, FastifySchema>> = {
  '/events/auth': {
    tags,
    operationId: 'issueToken',
    summary: 'Get a one-time token',
    description:
      'A token for the query parameter ot of the stream, for clients such as EventSource that can send no header. It is good for one stream, and with the cookie of that stream for its reconnects.',
    body: {
      type: 'object',
      additionalProperties: false,
      properties: {
        topics: {
          type: 'array',
          minItems: 1,
          maxItems: 44,
          items: { type: 'string', minLength: 1, maxLength: 256, pattern: '^[A-Za-z0-9._~:@/*-]+$' },
          description:
            'Topics, or patterns such as orders.*, that the token is for. Not given: all that the asker may listen to.'
        }
      },
      examples: [{ topics: ['news'] }]
    },
    response: {
      200: {
        type: 'object',
        description: 'The token; no cache may keep it',
        required: ['token', 'expiresIn', 'session'],
        properties: {
          token: { type: 'string' },
          expiresIn: { type: 'integer', description: 'Seconds within which it must be used' },
          session: { type: 'string', description: 'By which what the token begins can be revoked' }
        }
      },
      ...refusals(400, 401, 403, 413, 415, 421, 429, 503)
    }
  },
  '/events/revoke': {
    tags,
    operationId: 'revoke',
    summary: 'Take grants back',
    description: 'Ends the streams of a subject, or of one session, on every process. For grants that may revoke.',
    body: {
      type: 'object',
      additionalProperties: false,
      minProperties: 1,
      maxProperties: 1,
      properties: {
        subject: {
          type: 'string',
          minLength: 1,
          maxLength: 256,
          pattern: '^[^\\u0000-\\u001f\\u007f-\\u009f]*$',
          description: 'The subject of the grants; without control characters'
        },
        session: { type: 'string', pattern: '^[\\w-]{43}$', description: 'The session that came with a token' }
      },
      examples: [{ subject: 'ann' }]
    },
    response: {
      204: { type: 'null', description: 'They are taken back' },
      ...refusals(400, 401, 403, 413, 415, 421, 503)
    }
  }
} as const

/**
 * Describes the calls that authentication adds from here on. They check what they get by themselves, and have the
 * words.
 */
export function describeTokenCalls (app: FastifyInstance): void {
  app.addHook('onRoute', route => {
    const schema = SCHEMAS[route.url]
    if (schema === undefined || route.method !== 'POST') return
    route.schema = { ...schema, ...route.schema }
    route.attachValidation = true
  })
}
