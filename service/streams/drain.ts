import { setTimeout as pause } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'

/** Whether the service is on its way out. */
export interface Drain { isDraining: boolean }

declare module 'fastify' {
  interface FastifyInstance {
    /**
     * Ends the service so that no client notices: at once it is no longer ready and takes no new streams, then it waits
     * for load balancers to see that, then it closes. Publishes are taken until then. Settles when it is closed.
     */
    drain: () => Promise<void>
  }
}

/**
 * Gives the app its `drain()`:
 *
 * ```
 *   serving ──drain()──▶ draining: /readyz says 503, streams are told to come back ──delayMs──▶ close(): streams end, paced
 *      └───────────────────────────────────────close()─────────────────────────────────────────────┘
 * ```
 */
export function addDrain (app: FastifyInstance, delayMs: number): Drain {
  const drain: Drain = { isDraining: false }
  app.addHook('preClose', async () => { drain.isDraining = true })
  app.decorate('drain', async () => {
    drain.isDraining = true
    // What is still served keeps the process alive.
    await pause(delayMs, undefined, { ref: false })
    await app.close()
  })
  return drain
}
