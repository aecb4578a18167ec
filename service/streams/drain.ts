import { setTimeout as pause } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'

/** Whether the service is shutting down. */
export interface Drain { isDraining: boolean }

declare module 'fastify' {
  interface FastifyInstance {
    /**
     * Shuts the service down without clients noticing: it immediately becomes unready and accepts no new streams, waits
     * for load balancers to notice, then closes. Publishes are accepted until then. Resolves when it is closed.
     */
    drain: () => Promise<void>
  }
}

/**
 * Adds `drain()` to the app:
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
    // The timer need not keep the process alive: whatever is still being served does.
    await pause(delayMs, undefined, { ref: false })
    await app.close()
  })
  return drain
}
