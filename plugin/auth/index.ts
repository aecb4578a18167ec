import fp from 'fastify-plugin'
import type { FastifyPluginAsync } from 'fastify'
import { Authenticator } from './authenticator.ts'
import { checkCookieParser } from './cookie.ts'
import type { Grant } from './grant.ts'
import { guardRoutes } from './guard.ts'
import { OpenStreams } from './open-streams.ts'
import { resolveAuthOptions } from './options.ts'
import type { AuthOptions } from './options.ts'
import { askAgain, Recheck } from './recheck.ts'
import { redactLogs } from './redaction.ts'

export { Grant } from './grant.ts'
export type { GrantInit, GrantSource } from './grant.ts'
export type { AuthOptions } from './options.ts'
export type { CookieOptions, VerifyCookie } from './cookie.ts'
export type { JwtOptions, KeySet, PublicKey, PublicKeyAlgorithm, SecretKey } from './jwt-options.ts'
export type { ProxyOptions } from './proxy.ts'

const plugin: FastifyPluginAsync<AuthOptions> = async function (app, given) {
  const options = resolveAuthOptions(given)
  const streams = new OpenStreams(options.expiryWarningMs)
  const authenticator = new Authenticator({ app, options, streams })
  const recheck = new Recheck({ streams, checks: [askAgain], everyMs: options.recheckMs, log: app.log })

  app.decorateRequest('grant', null)
  redactLogs(app)
  guardRoutes(app, authenticator)
  app.addHook('onReady', async () => {
    if (options.cookie) checkCookieParser(app, options.cookie)
  })
  app.addHook('onClose', async () => recheck.stop())
}

/**
 * The Fastify plugin for authentication: `request.grant` on routes with `grant: true`, which refuse who has none.
 * Register it after `fastify-resumable-sse`, and before the routes. A bad option fails the start with `FST_SSE_BAD_OPTION`.
 */
export const auth: FastifyPluginAsync<AuthOptions> = fp(plugin, { name: 'fastify-resumable-sse-auth', fastify: '5.x', dependencies: ['fastify-resumable-sse'] })

declare module 'fastify' {
  interface FastifyRequest {
    /** What the request may do, on routes with `grant: true`; null on others. */
    grant: Grant | null
  }
  interface FastifyContextConfig {
    /** Refuse requests without a grant. Default false. */
    grant?: boolean
  }
  interface RouteShorthandOptions {
    /** Refuse requests without a grant; the same as `config.grant`. Default false. */
    grant?: boolean
  }
}
