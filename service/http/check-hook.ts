import type { FastifyRequest, onRequestHookHandler } from 'fastify'

/**
 * An `onRequest` hook that rejects the requests for which `check` throws. With a callback, because an async hook costs
 * a promise with each request.
 */
export function checkHook (check: (request: FastifyRequest) => void): onRequestHookHandler {
  return (request, reply, done) => {
    let error: Error | undefined
    try {
      check(request)
    } catch (thrown) {
      error = thrown as Error
    }
    // Outside of the `try`: it calls the hooks that follow.
    done(error)
  }
}
