import type { FastifyInstance, FastifyReply, FastifyRequest, HTTPMethods } from 'fastify'
import { errors } from './errors.ts'

const METHODS: readonly HTTPMethods[] = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE']

/**
 * Answers 405 with `Allow` where a path exists with other methods; Fastify alone says 404.
 * Call it before the routes are added, and what it returns when all are there.
 */
export function watchMethods (app: FastifyInstance): () => void {
  const allowed = new Map<string, Set<string>>()
  app.addHook('onRoute', ({ url, method }) => {
    const methods = allowed.get(url) ?? new Set()
    for (const each of [method].flat()) methods.add(each)
    allowed.set(url, methods)
  })
  return () => {
    for (const [url, methods] of [...allowed]) addRefusal(app, url, [...methods])
  }
}

function addRefusal (app: FastifyInstance, url: string, allowed: string[]): void {
  const refuse = async (request: FastifyRequest, reply: FastifyReply): Promise<never> => {
    reply.header('allow', allowed.join(', '))
    throw new errors.SERVICE_METHOD_NOT_ALLOWED(url, allowed.join(', '), request.method)
  }
  const method = METHODS.filter(method => !allowed.includes(method))
  // Before the body is read: what is wrong with it does not matter.
  app.route({ url, method, exposeHeadRoute: false, onRequest: refuse, handler: refuse })
}
