import type { FastifyInstance } from 'fastify'

/** A topic without permission to subscribe. */
export const FORBIDDEN = 'x'

/** The responses of a server that is unavailable for a while, or rejects all requests, or only those for a topic. */
export class ModelGate {
  /** The status of all responses; undefined for those of the server. */
  status: number | undefined
  /** A request was rejected permanently, and not because of its topics: any tab may have ended. */
  hasRejected = false

  constructor (app: FastifyInstance) {
    app.addHook<{ Querystring: { topic: string | string[] } }>('onRequest', async ({ query: { topic } }, reply) => {
      const isForbidden = [topic].flat().includes(FORBIDDEN)
      const status = this.status ?? (isForbidden ? 403 : undefined)
      if (this.status === 403) this.hasRejected = true
      if (status !== undefined) return await reply.code(status).send({ message: 'no' })
    })
  }
}
