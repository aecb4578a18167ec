import { setTimeout as pause } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'

/** Whether the service is shutting down. */
export interface Drain { isDraining: boolean }

declare module 'fastify' {
  interface FastifyInstance {
    /**
     * Shuts the service down without clients noticing: it is immediately no longer ready and accepts no new streams,
     * then waits for load balancers to notice, then closes. Publishes are accepted until then. Resolves when it is
     * closed.
     */
    drain: () => Promise<void>
  }
}

/**
 * Gives the app its `drain()`:
 *
 * ```
 *   serving ──drain()──▶ draining: /readyz is 503, new streams must retry ──delayMs──▶ close(): streams end, paced
 *      └───────────────────────────────────────close()─────────────────────────────────────────────┘
 * ```
 */
export function addDrain (app: FastifyInstance, delayMs: number): Drain {
  const drain: Drain = { isDraining: false }
  app.addHook('preClose', async () => { drain.isDraining = true })
  app.decorate('drain', async () => {
    drain.isDraining = true
    // Whatever is still being served keeps the process alive.
    await pause(delayMs, undefined, { ref: false })
    await app.close()
  })
  return drain
}
