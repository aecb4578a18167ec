import { readFileSync } from 'node:fs'
import cookie from '@fastify/cookie'
import type { FastifyInstance, RouteOptions } from 'fastify'
import { auth, MemoryTokenStore } from 'fastify-resumable-sse/auth'
import { LmdbTokenStore } from 'fastify-resumable-sse/auth/lmdb'
import { RedisTokenStore } from 'fastify-resumable-sse/auth/redis'
import type { AuthOptions, JwtOptions, TokenStore } from 'fastify-resumable-sse/auth'
import { SiteCheck } from 'fastify-resumable-sse/auth'
import type { ServiceConfig } from './config/config.ts'
import { redisConnection } from './config/redis-connection.ts'
import { pathOf } from './http/quiet-log.ts'

/** Names of this machine for itself, as browsers write them. */
const LOOPBACK_HOSTS = ['localhost', '127.0.0.1', '[::1]']

/** Those who probe or collect come by an address, and see nothing of the topics. */
const PROBED = new Set(['/healthz', '/readyz', '/metrics'])

/** Paths that need no grant. */
const isOpen = (url: string): boolean =>
  PROBED.has(url) || url === '/openapi.json' || url === '/' || url === '/favicon.ico' || url.startsWith('/console')

/** True for a route that is closed to those who do not show who they are, where credentials are asked for. */
export const needsGrant = (route: RouteOptions): boolean => !isOpen(route.url) && !isPreflight(route)

/** True when requests must show who they are. */
export function asksForCredentials ({ jwtSecret, jwtPublicKey, jwksUrl, proxyHeader }: ServiceConfig): boolean {
  return [jwtSecret, jwtPublicKey, jwksUrl, proxyHeader].some(value => value !== undefined)
}

/**
 * Asks for a grant on all routes that are added from here on, but for those anybody may see. Without anything
 * configured it asks for none, and where only this machine is served for its names alone: a page of any site could else
 * reach it by a name of its own that points to loopback.
 */
export async function authenticate (app: FastifyInstance, config: ServiceConfig): Promise<void> {
  const asks = asksForCredentials(config)
  checkHosts(app, config.allowedHosts ?? (asks || config.isOpenToAll ? undefined : LOOPBACK_HOSTS))
  if (!asks) {
    checkPages(app, config.corsOrigins)
    return warnIfOpen(app, config)
  }
  if (config.cookieName !== undefined) await app.register(cookie)
  app.addHook('onRoute', route => { if (needsGrant(route)) route.grant = true })
  await app.register(auth, authOptions(config))
}

function checkHosts (app: FastifyInstance, hosts: readonly string[] | undefined): void {
  if (hosts === undefined) return
  const site = new SiteCheck({ hosts })
  app.addHook('onRequest', async request => { if (!PROBED.has(pathOf(request.url))) site.checkHost(request) })
}

/**
 * Where nobody signs in, a page of another origin may change something only if `CORS_ORIGINS` lets it use the service.
 */
function checkPages (app: FastifyInstance, origins: readonly string[] = []): void {
  if (origins.includes('*')) return
  const site = new SiteCheck({ origins })
  app.addHook('onRequest', async request => site.checkChange(request))
}

const isPreflight = ({ method }: RouteOptions): boolean => method === 'OPTIONS'

function warnIfOpen (app: FastifyInstance, { isOpenToAll }: ServiceConfig): void {
  if (isOpenToAll) {
    app.log.warn(
      'OPEN_TO_ALL=yes: whoever reaches the service may publish and subscribe; set JWT_SECRET, JWT_PUBLIC_KEY, JWKS_URL or PROXY_HEADER to ask for credentials'
    )
  }
}

/** Of a configuration that asks for credentials. */
function authOptions (config: ServiceConfig): AuthOptions {
  const { cookieName, proxyHeader, proxyFrom, maxLifetimeMs, corsOrigins = [] } = config
  const jwt = jwtOptions(config)
  return {
    ...(jwt && { jwt }),
    ...(cookieName === undefined ? {} : { cookie: { name: cookieName, jwt: true } }),
    ...(proxyHeader === undefined
      ? {}
      : { proxy: { header: proxyHeader, from: proxyFrom!, ...(maxLifetimeMs !== undefined && { maxLifetimeMs }) } }),
    oneTimeToken: { store: createTokenStore(config) },
    // `*` lets every page read what needs no credentials; it is no origin to be trusted with them.
    origins: corsOrigins.filter(origin => origin !== '*')
  }
}

/** With the events: what was revoked stays revoked for as long as they last. */
function createTokenStore (config: ServiceConfig): TokenStore {
  switch (config.log) {
    case 'memory': return new MemoryTokenStore()
    case 'lmdb': return new LmdbTokenStore({ folder: config.dataDir })
    case 'redis': return new RedisTokenStore({ connection: redisConnection(config), prefix: config.prefix })
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
