import { channel } from 'node:diagnostics_channel'
import type { FastifyInstance, FastifyRequest, RouteOptions } from 'fastify'
import { errors } from '../errors.ts'

/** Marks the onRequest hook that authenticates; shared by several copies of this package. */
const kGuard = Symbol.for('fastify-resumable-sse.guard')
const kWatch = Symbol.for('fastify-resumable-sse.grant-routes')

/** The routes of one app until it is ready; encapsulated instances inherit this object from the root. */
interface Watch {
  readonly routes: RouteOptions[]
  /** False until this package is registered: until then `grant` may be an option of another package. */
  isUsed: boolean
  /** True if the app was observed before its first route could be added. */
  readonly isComplete: boolean
}

type Watched = FastifyInstance & { [kWatch]?: Watch }

/**
 * Observes every route of every app from its creation on. A plugin cannot: it runs after routes that were added before
 * it was awaited, and does not see routes of parent or sibling scopes. Such a route would have `grant: true` and still
 * answer everybody.
 */
channel('fastify.initialization').subscribe(message => watch((message as { fastify: Watched }).fastify, true))

/**
 * Makes the start of the app fail if a route requires a grant and no authentication guards it. Returns false if the app
 * was created before this module was loaded, so that routes may have been missed.
 */
export function checkGrantRoutes (app: FastifyInstance): boolean {
  const watched = (app as Watched)[kWatch] ?? watch(app, false)
  watched.isUsed = true
  return watched.isComplete
}

/** Marks a hook as the one that authenticates. */
export function asGuard<H extends object> (hook: H): H {
  return Object.assign(hook, { [kGuard]: true })
}

function watch (app: Watched, isComplete: boolean): Watch {
  const watched: Watch = { routes: [], isUsed: false, isComplete }
  app[kWatch] = watched
  const deny = async (request: FastifyRequest): Promise<void> => {
    if (watched.isUsed && !request.grant) throw unguarded(request.method, request.routeOptions.url)
  }
  app.addHook('onRoute', route => {
    watched.routes.push(route)
    if (asksForGrant(route)) route.onRequest = [...hooksOf(route), deny]
  })
  // Not earlier, because other hooks of the app may make a route require a grant, or remove its guard.
  app.addHook('onReady', async () => {
    const route = watched.routes
      .splice(0)
      .find(route => asksForGrant(route) && !hooksOf(route).some(hook => kGuard in hook))
    if (watched.isUsed && route) throw unguarded(String(route.method), route.url)
  })
  return watched
}

/**
 * True if the option or the config of a route requires a grant: neither can switch off the other. Values other than
 * true and false count as true; the guard reports the allowed values.
 */
export function asksForGrant ({ grant, config }: RouteOptions): boolean {
  return [grant, config?.grant].some((asked: unknown) => asked !== undefined && asked !== false)
}

const hooksOf = ({ onRequest }: RouteOptions) => [onRequest ?? []].flat()

function unguarded (method: string, url = ''): Error {
  return new errors.FST_SSE_UNGUARDED(method, url)
}
