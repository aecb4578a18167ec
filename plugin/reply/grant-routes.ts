import { channel } from 'node:diagnostics_channel'
import type { FastifyInstance, FastifyRequest, RouteOptions } from 'fastify'
import { errors } from './errors.ts'

/** Marks the onRequest hook that authenticates; also for a second copy of this package. */
const kGuard = Symbol.for('fastify-resumable-sse.guard')
const kWatch = Symbol.for('fastify-resumable-sse.grant-routes')

/** The routes of one app until it is ready; encapsulated instances inherit it from the root. */
interface Watch {
  readonly routes: RouteOptions[]
  /** False until this package is registered: `grant` may be another package's option where it is not. */
  isUsed: boolean
  /** True when the app was watched before its first route could be added. */
  readonly isComplete: boolean
}

type Watched = FastifyInstance & { [kWatch]?: Watch }

/**
 * Sees every route of every app, from its creation on. A plugin does not: it runs after the routes that were added
 * while nobody waited for it, and sees no route of a parent or sibling scope. Such a route would say `grant: true` and
 * answer everybody.
 */
channel('fastify.initialization').subscribe(message => watch((message as { fastify: Watched }).fastify, true))

/**
 * Makes the app fail its start when a route asks for a grant and no authentication guards it. Returns false when the
 * app was created before this module was loaded, so that routes may have been missed.
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
  // Not earlier: other hooks of the app may make a route ask for a grant, or take its guard away.
  app.addHook('onReady', async () => {
    const route = watched.routes
      .splice(0)
      .find(route => asksForGrant(route) && !hooksOf(route).some(hook => kGuard in hook))
    if (watched.isUsed && route) throw unguarded(String(route.method), route.url)
  })
  return watched
}

/**
 * True when the option or the config of a route asks for a grant: neither can switch off the other. A value that is
 * neither true nor false asks too; the guard reports what it should be.
 */
export function asksForGrant ({ grant, config }: RouteOptions): boolean {
  return [grant, config?.grant].some((asked: unknown) => asked !== undefined && asked !== false)
}

const hooksOf = ({ onRequest }: RouteOptions) => [onRequest ?? []].flat()

function unguarded (method: string, url = ''): Error {
  return new errors.FST_SSE_UNGUARDED(method, url)
}
