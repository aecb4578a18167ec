import { readFileSync } from 'node:fs'
import cookie from '@fastify/cookie'
import type { FastifyInstance, RouteOptions } from 'fastify'
import fp from 'fastify-plugin'
import { auth, MemoryTokenStore, SiteCheck } from 'fastify-resumable-sse/auth'
import type { AuthOptions, JwtOptions, TokenStore } from 'fastify-resumable-sse/auth'
import type { ServiceConfig } from './config/config.ts'
import { redisConnection } from './config/redis/redis-connection.ts'
import { errors } from './errors.ts'
import { checkHook } from './http/check-hook.ts'
import { pathOf } from './http/quiet-log.ts'

/** Host names of this machine, in the form browsers send them. */
const LOOPBACK_HOSTS = ['localhost', '127.0.0.1', '[::1]']

/** Probes and collectors connect by IP address, and these paths reveal nothing about topics. */
const PROBED = new Set(['/healthz', '/readyz', '/metrics'])

declare module 'fastify' {
  interface FastifyContextConfig {
    /** True for a route that requires no grant. Default: it requires one once credentials are configured. */
    isPublic?: boolean
  }
}

/** True for the route for which one-time tokens are issued. */
export const takesTokens = ({ url }: Pick<RouteOptions, 'url'>): boolean => url === '/events'

/** True for a route that requires a grant once credentials are configured. */
export const needsGrant = ({ method, config }: Pick<RouteOptions, 'method' | 'config'>): boolean =>
  config?.isPublic !== true && method !== 'OPTIONS'

/** True when requests must present credentials. */
export function asksForCredentials ({ jwtSecret, jwtPublicKey, jwksUrl, proxyHeader }: ServiceConfig): boolean {
  return [jwtSecret, jwtPublicKey, jwksUrl, proxyHeader].some(value => value !== undefined)
}

/**
 * Requires a grant on all routes that are added later, except the public ones. Without credentials in the
 * configuration no grant is required, and, unless the service is open to all, only the names of this machine are
 * accepted as `Host`: otherwise a page of any site could reach the service by a DNS name that points to loopback.
 */
async function authenticate (app: FastifyInstance, { config }: { config: ServiceConfig }): Promise<void> {
  const asks = asksForCredentials(config)
  checkHosts(app, config.allowedHosts ?? (asks || config.isOpenToAll ? undefined : LOOPBACK_HOSTS))
  if (!asks) {
    checkPages(app, config.corsOrigins)
    return warnIfOpen(app, config)
  }
  if (config.cookieName !== undefined) await app.register(cookie)
  keepTokensForStreams(app)
  app.addHook('onRoute', route => { if (needsGrant(route)) route.grant = true })
  await app.register(auth, authOptions(config, await createTokenStore(config)))
}

/** It adds the routes of one-time tokens: the plugins that describe and observe routes must be registered before. */
export const authentication = fp(authenticate, {
  name: 'service-auth',
  dependencies: ['fastify-resumable-sse', 'service-token-calls', 'service-openapi', 'service-methods']
})

function checkHosts (app: FastifyInstance, hosts: readonly string[] | undefined): void {
  if (hosts === undefined) return
  const site = new SiteCheck({ hosts })
  app.addHook('onRequest', checkHook(request => { if (!PROBED.has(pathOf(request.url))) site.checkHost(request) }))
}

/** Without authentication, a page of another origin may change something only if `CORS_ORIGINS` allows that origin. */
function checkPages (app: FastifyInstance, origins: readonly string[] = []): void {
  if (origins.includes('*')) return
  const site = new SiteCheck({ origins })
  app.addHook('onRequest', checkHook(request => site.checkChange(request)))
}

/**
 * Rejects a one-time token that is presented to any other route, before it is looked up: that route would spend it, and
 * the stream that it was issued for would be rejected because the token is already in use.
 */
function keepTokensForStreams (app: FastifyInstance): void {
  app.addHook('onRequest', async ({ routeOptions: { url, method, config }, query, headers }, reply) => {
    if (url === undefined || takesTokens({ url }) || !needsGrant({ method, config })) return
    if (headers.authorization !== undefined || !('ot' in (query as object))) return
    reply.header('www-authenticate', 'Bearer')
    throw new errors.SERVICE_TOKEN_FOR_STREAM(url)
  })
}

function warnIfOpen (app: FastifyInstance, { isOpenToAll }: ServiceConfig): void {
  if (isOpenToAll) {
    app.log.warn(
      'OPEN_TO_ALL=yes: anyone who can reach the service may publish and subscribe; ' +
      'set JWT_SECRET, JWT_PUBLIC_KEY, JWKS_URL or PROXY_HEADER to require credentials'
    )
  }
}

/** For a configuration with credentials. */
function authOptions (config: ServiceConfig, store: TokenStore): AuthOptions {
  const { cookieName, proxyHeader, proxyFrom, maxLifetimeMs, corsOrigins = [] } = config
  const jwt = jwtOptions(config)
  return {
    ...(jwt && { jwt }),
    ...(cookieName === undefined ? {} : { cookie: { name: cookieName, jwt: true } }),
    ...(proxyHeader === undefined
      ? {}
      : { proxy: { header: proxyHeader, from: proxyFrom!, ...(maxLifetimeMs !== undefined && { maxLifetimeMs }) } }),
    oneTimeToken: { store },
    // `*` lets every page read what needs no credentials, but it is not an origin to be trusted with credentials.
    origins: corsOrigins.filter(origin => origin !== '*')
  }
}

/** In the same place as the events, so that revocations last as long as the events. */
async function createTokenStore (config: ServiceConfig): Promise<TokenStore> {
  switch (config.log) {
    case 'memory': return new MemoryTokenStore()
    case 'lmdb': {
      const { LmdbTokenStore } = await import('fastify-resumable-sse/auth/lmdb')
      return new LmdbTokenStore({ folder: config.dataDir })
    }
    case 'redis': {
      const { RedisTokenStore } = await import('fastify-resumable-sse/auth/redis')
      return new RedisTokenStore({ connection: redisConnection(config), prefix: config.prefix })
    }
  }
}

function jwtOptions (config: ServiceConfig): JwtOptions | undefined {
  const {
    jwtSecret,
    jwtSecretPrevious,
    jwtPublicKey,
    jwtAlgorithm,
    jwksUrl,
    jwtClaim: claim,
    jwtIssuer: issuer
  } = config
  const common = { claim, ...(issuer === undefined ? {} : { issuer }), ...audience(config) }
  if (jwtSecret !== undefined) {
    return { secret: jwtSecret, ...jwtSecretPrevious !== undefined && { previousSecret: jwtSecretPrevious }, ...common }
  }
  if (jwtPublicKey !== undefined) {
    return { publicKey: readFileSync(jwtPublicKey, 'utf8'), algorithm: jwtAlgorithm!, ...common }
  }
  return jwksUrl === undefined ? undefined : { jwksUrl, ...common }
}

function audience ({ jwtAudience, jwtPublishAudience }: ServiceConfig): Pick<JwtOptions, 'audience'> {
  if (jwtAudience === undefined) return {}
  return {
    audience: jwtPublishAudience === undefined ? jwtAudience : { subscribe: jwtAudience, publish: jwtPublishAudience }
  }
}
