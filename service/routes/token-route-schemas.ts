import type { FastifyInstance, FastifySchema } from 'fastify'
import fp from 'fastify-plugin'
import { MAX_CURSOR_TOPICS } from 'fastify-resumable-sse/topics'
import { errorResponses } from '../http/schemas/error-schemas.ts'

const tags = ['Stream']

/** The routes that authentication adds, by path. */
const SCHEMAS: Partial<Record<string, FastifySchema>> = {
  '/events/auth': {
    tags,
    operationId: 'issueToken',
    summary: 'Get a one-time token',
    description:
      'A token for the query parameter ot of the stream, for clients such as EventSource that cannot send headers. ' +
        'It is valid for one stream and, with the cookie of that stream, for its reconnects.',
    body: {
      type: 'object',
      additionalProperties: false,
      properties: {
        topics: {
          type: 'array',
          minItems: 1,
          maxItems: MAX_CURSOR_TOPICS,
          items: { type: 'string', minLength: 1, maxLength: 256, pattern: '^[A-Za-z0-9._~:@/*-]+$' },
          description:
            'Topics, or patterns such as orders.*, that the token is for. ' +
              'Default: all topics that the client may subscribe to.'
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
          session: { type: 'string', description: 'Identifies the session that the token starts, to revoke it' }
        }
      },
      ...errorResponses(400, 401, 403, 413, 415, 421, 429, 503)
    }
  },
  '/events/revoke': {
    tags,
    operationId: 'revoke',
    summary: 'Revoke grants',
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
      204: { type: 'null', description: 'The grants are revoked' },
      ...errorResponses(400, 401, 403, 413, 415, 421, 503)
    }
  }
} as const

/**
 * Describes the routes that authentication adds. They check their input themselves, with better
 * messages.
 */
async function describeTokenCalls (app: FastifyInstance): Promise<void> {
  app.addHook('onRoute', route => {
    const schema = SCHEMAS[route.url]
    if (schema === undefined || route.method !== 'POST') return
    route.schema = { ...schema, ...route.schema }
    route.attachValidation = true
  })
}

export const tokenCalls = fp(describeTokenCalls, { name: 'service-token-calls' })
