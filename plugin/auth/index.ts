import fp from 'fastify-plugin'
import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import { errors } from './errors.ts'
import { Authenticator } from './authenticator.ts'
import { checkCookieParser } from './credentials/cookie.ts'
import type { Grant } from './grants/grant.ts'
import { guardRoutes } from './grants/guard.ts'
import { MemoryTokenStore } from './one-time/memory-token-store.ts'
import { tokenDefaults } from './one-time/one-time-token-options.ts'
import type { JwtVerifier } from './jwt/jwt.ts'
import type { OneTimeTokens } from './one-time/one-time-tokens.ts'
import { FASTIFY_RANGE } from '../common/fastify-range.ts'
import { importWithPeer } from '../common/peer.ts'
import { GrantedStreams } from './grants/granted-streams.ts'
import { resolveAuthOptions } from './options.ts'
import type { AuthOptions } from './options.ts'
import { askAgain, Recheck } from './grants/recheck.ts'
import { redactLogs } from './credentials/redaction.ts'
import { Revocation } from './grants/revocation.ts'
import type { Revoked } from './grants/revocation.ts'

export { Grant } from './grants/grant.ts'
export type { GrantInit, GrantSource } from './grants/grant.ts'
export type { AuthErrorCode } from './errors.ts'
export type { AuthOptions } from './options.ts'
export type { CookieOptions, VerifyCookie } from './credentials/cookie.ts'
export type { JwtOptions, KeySet, PublicJwk, PublicKey, PublicKeyAlgorithm, SecretKey } from './jwt/jwt-options.ts'
export type { OneTimeTokenOptions } from './one-time/one-time-token-options.ts'
export type { IssuedToken } from './one-time/one-time-tokens.ts'
export { MemoryTokenStore } from './one-time/memory-token-store.ts'
export { RateWindows } from './one-time/rate-windows.ts'
export type {
  PresentedToken,
  RedeemedToken,
  SessionLimits,
  StoreChange,
  StoredToken,
  TokenRecord,
  TokenStore,
  TokenStoreLogger
} from './one-time/token-store.ts'
export type { Revoked } from './grants/revocation.ts'
export { isFrom, PROXY_LIFETIME_MS, toBlockList } from './proxy.ts'
export type { ProxyOptions } from './proxy.ts'
export { authChecks, problemWithKey } from './options.ts'
export { PUBLIC_KEY_ALGORITHMS } from './jwt/jwt-options.ts'
export { SiteCheck } from './credentials/site-check.ts'

/** `app.auth`. */
export interface Auth {
  /**
   * Ends everything that a subject was granted before now, or one session of a one-time token, on every node: open
   * streams end with reason `revoked`. Rejects with 503 `FST_SSE_STORE_UNAVAILABLE` if the store is unavailable; try
   * again then.
   */
  revoke: (revoked: Revoked) => Promise<void>
  /**
   * For work other than streams that outlasts the check of its request: calls back once when the grant or its session
   * is revoked, immediately if it already is. An exception of the callback is logged. Returns a function that stops
   * watching: call it when the work is done.
   */
  onRevoked: (grant: Grant, callback: () => void) => () => void
  /**
   * A one-time token of a grant, see `OneTimeTokens.issue`. Throws `FST_SSE_BAD_OPTION` without the option
   * `oneTimeToken`.
   */
  issue: OneTimeTokens['issue']
}

const plugin: FastifyPluginAsync<AuthOptions> = async function (app, given) {
  const options = resolveAuthOptions(given)
  app.decorateRequest('grant', null)
  refuseConflict(app, options.decoratorName)
  const tokens = await createTokens(app, options)
  const verifier = await createVerifier(app, options)
  const streams = new GrantedStreams(app.sse.streams, options.expiryWarningMs)
  const revocation = createRevocation(app, { options, tokens, streams })
  const recheck = new Recheck({
    checks: [() => revocation.check(), () => askAgain(streams, options.recheckTimeoutMs)],
    everyMs: options.recheckMs,
    log: app.log
  })
  const authenticator = new Authenticator({ app, options, streams, revocation, tokens, verifier })

  app.decorate(options.decoratorName, createAuth(revocation, tokens))
  app.addHook('onClose', async () => {
    recheck.stop()
    await revocation.stop()
  })
  redactLogs(app)
  guardRoutes(app, authenticator)
  if (tokens) await addTokenRoutes(app, tokens)
  app.addHook('onReady', async () => {
    if (options.cookie) checkCookieParser(app, options.cookie)
  })
  // Last: what fails before it, such as a second registration, must not leave anything that nothing stops.
  recheck.start()
  await revocation.start(() => { void recheck.runAnew() })
}

function refuseConflict (app: FastifyInstance, name: string): void {
  if (!app.hasDecorator(name)) return
  const range = 'a name that no other plugin uses, such as "sseAuth"'
  throw new errors.FST_SSE_BAD_OPTION('auth', 'decoratorName', range, `"${name}", which this app already has`)
}

/** jose and @fastify/rate-limit are optional peer dependencies: they are loaded only by the options that need them. */
async function createVerifier (app: FastifyInstance, { jwt }: AuthOptions): Promise<JwtVerifier | undefined> {
  if (!jwt) return undefined
  const { JwtVerifier } = await importWithPeer('jose', 'the option "jwt"', () => import('./jwt/jwt.ts'))
  return new JwtVerifier(jwt, app.log)
}

async function createTokens (app: FastifyInstance, { oneTimeToken }: AuthOptions): Promise<OneTimeTokens | undefined> {
  if (!oneTimeToken) return undefined
  const { OneTimeTokens } = await loadTokens()
  return OneTimeTokens.create(app, oneTimeToken)
}

async function addTokenRoutes (app: FastifyInstance, tokens: OneTimeTokens): Promise<void> {
  (await loadTokens()).addTokenRoutes(app, tokens)
}

function loadTokens () {
  return importWithPeer('@fastify/rate-limit', 'the option "oneTimeToken"', () => import('./one-time/index.ts'))
}

interface Parts {
  options: ReturnType<typeof resolveAuthOptions>
  tokens: OneTimeTokens | undefined
  streams: GrantedStreams
}

function createRevocation (app: FastifyInstance, { options, tokens, streams }: Parts): Revocation {
  const { sessionIdleMs: slidingMs, sessionMaxMs: absoluteMs, graceMs, revocationMs } = tokenDefaults
  const store = tokens?.store ?? options.store ?? new MemoryTokenStore()
  return new Revocation({
    store,
    streams,
    limits: tokens?.limits ?? { slidingMs, absoluteMs, graceMs },
    revocationMs: tokens?.options.revocationMs ?? revocationMs,
    timeoutMs: options.recheckTimeoutMs,
    log: app.log
  })
}

function createAuth (revocation: Revocation, tokens: OneTimeTokens | undefined): Auth {
  return {
    revoke: revoked => revocation.revoke(revoked),
    onRevoked: (grant, callback) => revocation.watch(grant, callback),
    async issue (grant, init) {
      if (!tokens) {
        throw new errors.FST_SSE_BAD_OPTION('auth', 'oneTimeToken', 'given where tokens are issued', 'undefined')
      }
      return tokens.issue(grant, init)
    }
  }
}

/**
 * The Fastify plugin for authentication. It sets `request.grant` on routes with `grant: true`, and rejects requests to
 * them without a valid credential. Register it after `fastify-resumable-sse` and before the routes. A bad option fails
 * the start with `FST_SSE_BAD_OPTION`.
 */
const auth: FastifyPluginAsync<AuthOptions> = fp(plugin, {
  name: 'fastify-resumable-sse-auth',
  fastify: FASTIFY_RANGE,
  dependencies: ['fastify-resumable-sse']
})
export default auth
export { auth }

declare module 'fastify' {
  interface FastifyInstance {
    /** Revocation and one-time tokens; see the option `decoratorName`. */
    auth: Auth
  }
  interface FastifyRequest {
    /** What the request may do, on routes with `grant: true`; null on others. */
    grant: Grant | null
  }
  interface FastifyContextConfig {
    /** Reject requests without a grant. Default false. */
    grant?: boolean
  }
  interface RouteShorthandOptions {
    /** Reject requests without a grant; the same as `config.grant`. Default false. */
    grant?: boolean
  }
}
