import swagger from '@fastify/swagger'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { ServiceConfig } from '../../config/config.ts'
import { asksForCredentials } from '../../auth.ts'
import { packageVersion } from '../../version.ts'
import { addSchemas } from './schemas.ts'
import { describeSecurity, securitySchemes } from './security-schemes.ts'
import { validateBySchema } from './validator.ts'

/** Describes and validates all routes that are added after this call by their schemas. */
async function describeRoutes (app: FastifyInstance, { config }: { config: ServiceConfig }): Promise<void> {
  addSchemas(app)
  validateBySchema(app)
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'resumable-sse',
        description:
          'Publish events to topics over HTTP and subscribe to them with Server-Sent Events. ' +
            'Streams resume exactly where they stopped.',
        version: packageVersion(),
        license: { name: 'MIT', identifier: 'MIT' }
      },
      servers: [{ url: '/', description: 'This server' }],
      ...asksForCredentials(config) ? {} : { security: [] },
      components: { securitySchemes: securitySchemes(config) },
      tags: [
        { name: 'Stream', description: 'Event streams' },
        { name: 'Topics', description: 'Publishing, and the state of topics' },
        { name: 'Service', description: 'The service itself' }
      ]
    },
    transformObject: described =>
      'openapiObject' in described ? amend(described.openapiObject as Document) : described.swaggerObject,
    refResolver: { buildLocalReference: ({ $id }) => String($id) }
  })
  describeSecurity(app, config)
}

export const openapi = fp(describeRoutes, { name: 'service-openapi' })

/** The parts of the document that are changed. */
interface Document {
  paths: Record<
    string,
    Record<string, { requestBody?: { required?: boolean, content: Record<string, { schema: object }> } }>
  >
}

/**
 * Adds what request schemas cannot express: an NDJSON batch is text (it is validated as the list of its lines), and the
 * body of POST /events/auth is optional.
 */
function amend (document: Document): object {
  for (const [path, calls] of Object.entries(document.paths)) {
    for (const { requestBody } of Object.values(calls)) {
      const lines = requestBody?.content['application/x-ndjson']
      if (lines) lines.schema = ndjsonText(lines.schema)
      if (requestBody && path === '/events/auth') requestBody.required = false
    }
  }
  return document
}

function ndjsonText (schema: { title?: string, description?: string }): object {
  return {
    type: 'string',
    title: schema.title,
    description: `Each line is an Event as JSON. ${schema.description}`,
    contentMediaType: 'application/x-ndjson'
  }
}

/** `GET /openapi.json`: this API as OpenAPI 3.1, made from the schemas that validate requests. */
export function openapiRoute (app: FastifyInstance): void {
  const schema = {
    tags: ['Service'],
    operationId: 'getOpenapi',
    summary: 'This document',
    response: { 200: { type: 'object', additionalProperties: true, description: 'OpenAPI 3.1' } }
  }
  app.get('/openapi.json', { schema, config: { isPublic: true } }, () => app.swagger())
}
