import type { FastifyInstance } from 'fastify'

const schema = {
  tags: ['Service'],
  operationId: 'getHealth',
  summary: 'Alive',
  response: {
    200: { type: 'object', description: 'The process serves', required: ['status'], properties: { status: { const: 'ok' } }, examples: [{ status: 'ok' }] }
  }
}

/** `GET /healthz`: alive while it answers. */
export function healthRoute (app: FastifyInstance): void {
  app.get('/healthz', { schema }, async () => ({ status: 'ok' }))
}
