import swagger from '@fastify/swagger'
import type { FastifyInstance } from 'fastify'
import type { ServiceConfig } from '../config/config.ts'
import { addSchemas } from './schemas.ts'
import { describeSecurity, securitySchemes } from './security.ts'
import { validateBySchema } from './validator.ts'

/** Version of the HTTP interface, not of the program: it changes when a client could notice. */
const API_VERSION = '1.0.0'

/** Describes and validates all routes that are added from here on by their schemas. */
export async function describeRoutes (app: FastifyInstance, config: ServiceConfig): Promise<void> {
  addSchemas(app)
  validateBySchema(app)
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'resumable-sse',
        description: 'Publish events to topics over HTTP and listen to them as Server-Sent Events. Streams resume exactly where they stopped.',
        version: API_VERSION,
        license: { name: 'MIT', identifier: 'MIT' }
      },
      components: { securitySchemes: securitySchemes(config) },
      tags: [{ name: 'Stream', description: 'Listening' }, { name: 'Topics', description: 'Publishing, and what there is' }, { name: 'Service', description: 'The service itself' }]
    },
    refResolver: { buildLocalReference: ({ $id }) => String($id) }
  })
  describeSecurity(app, config)
}

/** `GET /openapi.json`: this interface as OpenAPI 3.1, made from the schemas that requests are validated by. */
export function openapiRoute (app: FastifyInstance): void {
  const schema = {
    tags: ['Service'],
    operationId: 'getOpenapi',
    summary: 'This document',
    response: { 200: { type: 'object', additionalProperties: true, description: 'OpenAPI 3.1' } }
  }
  app.get('/openapi.json', { schema }, () => app.swagger())
}
