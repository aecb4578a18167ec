import { METHODS } from 'node:http'
import type { FastifyInstance, FastifyReply, FastifyRequest, HTTPMethods } from 'fastify'
import fp from 'fastify-plugin'
import { errors } from '../errors.ts'

/** Every method that Node parses except CONNECT, which has no path. */
const ALL = METHODS.filter(method => method !== 'CONNECT')

declare module 'fastify' {
  interface FastifyInstance {
    /** The methods of each path that has routes, and whether these are public. */
    methodsByPath: ReadonlyMap<string, PathMethods>
  }
}

interface PathMethods { readonly methods: ReadonlySet<string>, readonly isPublic: boolean }

async function watchMethods (app: FastifyInstance): Promise<void> {
  for (const method of ALL) if (!app.supportedMethods.includes(method)) app.addHttpMethod(method)
  const known = new Map<string, PathMethods>()
  app.decorate('methodsByPath', known)
  app.addHook('onRoute', ({ url, method, config }) => {
    const { methods = [], isPublic = true } = known.get(url) ?? {}
    known.set(url, {
      methods: new Set([...methods, ...[method].flat()]),
      isPublic: isPublic && config?.isPublic === true
    })
  })
}

/**
 * Records the methods of all routes that are added later. Registered after CORS, whose preflight route matches every
 * path.
 */
export const methods = fp(watchMethods, { name: 'service-methods', dependencies: ['service-cors'] })

/**
 * Responds to OPTIONS with `Allow`, and with 405 and `Allow` if the path exists with other methods; Fastify alone
 * responds with 404 to both.
 */
async function answerOtherMethods (app: FastifyInstance): Promise<void> {
  for (const [url, path] of [...app.methodsByPath]) answerOthers(app, url, path)
}

export const otherMethods = fp(answerOtherMethods, {
  name: 'service-other-methods',
  dependencies: ['service-methods', 'service-routes']
})

function answerOthers (app: FastifyInstance, url: string, { methods, isPublic }: PathMethods): void {
  const allowed = [...methods, 'OPTIONS']
  const allow = allowed.join(', ')
  const tell = async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> =>
    reply.header('allow', allow).code(204).send()
  const rejectMethod = async (request: FastifyRequest, reply: FastifyReply): Promise<never> => {
    reply.header('allow', allow)
    throw new errors.SERVICE_METHOD_NOT_ALLOWED(url, allow, request.method)
  }
  const route = { url, exposeHeadRoute: false, schema: { hide: true }, config: { isPublic } }
  // Runs before the body is read, because it does not matter whether that is valid.
  app.route({ ...route, method: 'OPTIONS', onRequest: tell, handler: tell })
  app.route({
    ...route,
    method: ALL.filter(method => !allowed.includes(method)) as HTTPMethods[],
    onRequest: rejectMethod,
    handler: rejectMethod
  })
}
