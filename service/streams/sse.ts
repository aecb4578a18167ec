import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import sse from 'fastify-resumable-sse'

export interface SseInit {
  heartbeatMs: number
  drainMs: number
  /** 0 for no compression. */
  gzipMinBytes: number
}

async function addSse (app: FastifyInstance, { heartbeatMs, drainMs, gzipMinBytes }: SseInit): Promise<void> {
  await app.register(sse, { heartbeatMs, drainMs, gzipMinBytes: gzipMinBytes || false, answersWhileClosing: true })
}

/** `reply.sse()`. Its drain waits for streams, so the close limit must have started by then. */
export const streaming = fp(addSse, { name: 'service-sse', dependencies: ['service-close-limit'] })
