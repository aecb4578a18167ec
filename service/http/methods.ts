import { METHODS } from 'node:http'
import type { FastifyInstance, FastifyReply, FastifyRequest, HTTPMethods } from 'fastify'
import { errors } from '../errors.ts'

/** Every method that Node parses except CONNECT, which has no path. */
const ALL = METHODS.filter(method => method !== 'CONNECT')

/**
 * Responds to OPTIONS with `Allow`, and with 405 and `Allow` if the path exists with other methods; Fastify alone
 * responds with 404 to both. Call it before routes are added, and the returned function after all routes.
 */
export function watchMethods (app: FastifyInstance): () => void {
  for (const method of ALL) if (!app.supportedMethods.includes(method)) app.addHttpMethod(method)
  const known = new Map<string, Set<string>>()
  app.addHook('onRoute', ({ url, method }) => {
    const methods = known.get(url) ?? new Set()
    for (const each of [method].flat()) methods.add(each)
    known.set(url, methods)
  })
  return () => {
    for (const [url, methods] of [...known]) answerOthers(app, url, [...methods, 'OPTIONS'])
  }
}

function answerOthers (app: FastifyInstance, url: string, allowed: string[]): void {
  const allow = allowed.join(', ')
  const tell = async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> =>
    reply.header('allow', allow).code(204).send()
  const rejectMethod = async (request: FastifyRequest, reply: FastifyReply): Promise<never> => {
    reply.header('allow', allow)
    throw new errors.SERVICE_METHOD_NOT_ALLOWED(url, allow, request.method)
  }
  const route = { url, exposeHeadRoute: false, schema: { hide: true } }
  // Before the body is read: it does not matter whether it is valid.
  app.route({ ...route, method: 'OPTIONS', onRequest: tell, handler: tell })
  app.route({
    ...route,
    method: ALL.filter(method => !allowed.includes(method)) as HTTPMethods[],
    onRequest: rejectMethod,
    handler: rejectMethod
  })
}
