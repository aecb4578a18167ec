import { createHash, randomBytes } from 'node:crypto'
import rateLimit from '@fastify/rate-limit'
import type { FastifyBaseLogger, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { addressOf } from './client-address.ts'
import { errors } from '../errors.ts'
import { Grant } from '../grants/grant.ts'
import { resolveTokenOptions } from './one-time-token-options.ts'
import type { OneTimeTokenOptions, ResolvedTokenOptions } from './one-time-token-options.ts'
import { RateLimit } from './rate-limits.ts'
import type { RateCounter } from './rate-limits.ts'
import { RateWindows } from './rate-windows.ts'
import { cookieLines, cookieName, readSecret } from './resume-cookie.ts'
import { TOKEN_PARAMETER } from './token-parameter.ts'
import type { StoredToken, PresentedToken, SessionLimits, TokenStore } from './token-store.ts'

/**
 * The response to a client that requests a token; `session` is for `revoke({ session })` and does not reveal the token.
 */
export interface IssuedToken { token: string, expiresIn: number, session: string }

/** A token or session that was found but not spent yet. */
export interface FoundToken { kind: StoredToken['kind'], grant: Grant, presented: PresentedToken }

const TOKEN = /^[\w-]{43}$/

/**
 * One-time tokens, and the resume sessions that they start.
 *
 * ```
 *   issue ─▶ fresh ──redeem──▶ session, its secret in a cookie ──▶ resumed by token + cookie … until it is over
 *              └─ 30 s ─▶ gone        └─ the same client again within 10 s: the same session, with one more secret
 * ```
 *
 * A session has one stream: resuming or repeating it supersedes the older stream, on whichever node that is.
 */
export class OneTimeTokens {
  readonly options: ResolvedTokenOptions
  /** Counts for `RateLimit`. */
  readonly counter: RateCounter
  readonly #failures: RateLimit

  private constructor (options: ResolvedTokenOptions, counter: RateCounter) {
    const { maxFailures: max, limitWindowMs: windowMs } = options
    this.options = options
    this.counter = counter
    this.#failures = new RateLimit(counter, {
      what: 'tries of a one-time token that is not valid',
      per: 'address',
      max,
      windowMs
    })
  }

  /** Checks the options; the caller starts the store. Throws `FST_SSE_BAD_OPTION`. */
  static async create (app: FastifyInstance, given: OneTimeTokenOptions): Promise<OneTimeTokens> {
    const options = resolveTokenOptions(given)
    return new OneTimeTokens(options, await createCounter(app))
  }

  get store (): TokenStore { return this.options.store }

  /** For `store.touch` while streams are open. */
  get limits (): SessionLimits {
    const { sessionIdleMs: slidingMs, sessionMaxMs, revocationMs, graceMs } = this.options
    // A session must not outlast the record that its subject was revoked.
    return { slidingMs, absoluteMs: Math.min(sessionMaxMs, revocationMs), graceMs }
  }

  /**
   * Issues a one-time token for some of the topics of the grant, or for all of them if none are named; never for
   * publishing, and never valid longer than the grant. A topic may be a pattern if the grant covers everything it
   * matches. `origin` is that of the page: a browser of another origin cannot redeem the token. Throws 403
   * `FST_SSE_FORBIDDEN` for a topic that the grant does not cover.
   */
  async issue (
    grant: Grant,
    { topics, origin }: { topics?: readonly string[] | undefined, origin?: string | undefined } = {}
  ): Promise<IssuedToken> {
    if (topics) grant.checkSubscribe(topics)
    const { subject, expiresAtMs, issuedAtMs } = grant
    const ttlMs = Math.min(this.options.ttlMs, (expiresAtMs ?? Infinity) - Date.now())
    const token = newSecret()
    const session = hashOf(token)
    await this.store.issue(
      session,
      { origin, grant: { subject, subscribe: topics ?? grant.subscribe, publish: [], expiresAtMs, issuedAtMs } },
      ttlMs
    )
    return { token, expiresIn: Math.max(0, Math.floor(ttlMs / 1000)), session }
  }

  /**
   * Looks up the token in the request's `ot` without spending it. Rejects with 401 `FST_SSE_BAD_TOKEN` (also without a
   * token or with two), with 429 if the address has presented this token too often, and with 503 if the store is
   * unavailable. A token has 256 bits and cannot be guessed, so the limit only protects the store; clients that share
   * an address must not be locked out by it.
   */
  async find (request: FastifyRequest): Promise<FoundToken> {
    // As read by the query parser.
    const token = (request.query as Record<string, unknown>)[TOKEN_PARAMETER]
    if (typeof token !== 'string' || !TOKEN.test(token)) throw badToken()
    const tokenHash = hashOf(token)
    const key = `${addressOf(request.ip)} ${tokenHash}`
    await this.#failures.check(request, key)
    const found = await this.#look(request, tokenHash)
    if (found) return found
    await this.#failures.count(request, key)
    throw badToken()
  }

  /**
   * Spends the token that was found, once nothing else can reject the stream, and sets the session's cookie among the
   * stream's headers. Returns the stream's turn: earlier streams of the session are superseded. Rejects with 401
   * `FST_SSE_BAD_TOKEN` if another request was faster; in that case no header was set and, if the response is not a
   * stream, no stream was superseded.
   */
  async redeem ({ presented }: FoundToken, reply: FastifyReply, use: 'stream' | 'answer'): Promise<number> {
    const secret = newSecret()
    const taken = await this.store.redeem(presented, hashOf(secret), this.limits)
    // Repetition within the grace period is allowed only for streams.
    if (!taken || (use === 'answer' && taken.kind !== 'fresh')) throw await this.#tooLate(presented, use)
    if (taken.hasOlder) await this.store.supersede(presented.tokenHash, taken.turn)
    if (taken.kind !== 'resumed') this.#setCookies(reply, presented, secret, taken.endsInMs)
    return taken.turn
  }

  /** Another request was faster. If it came from the same client, its stream may close soon. */
  async #tooLate (presented: PresentedToken, use: 'stream' | 'answer'): Promise<Error> {
    const found = use === 'stream' ? await this.store.find(presented, this.limits) : undefined
    return found ? new errors.FST_SSE_TOKEN_BUSY() : new errors.FST_SSE_BAD_TOKEN('spent by another request meanwhile')
  }

  /**
   * A stream that had its turn has closed: within the grace period the same client may now repeat its request. If the
   * store is unavailable, the page needs a new token or the cookie that it already has.
   */
  release (session: string, turn: number, log: FastifyBaseLogger): void {
    this.store
      .release(session, turn)
      .catch((err: unknown) => log.debug({ err }, 'the end of a stream could not be noted in the token store'))
  }

  async #look (request: FastifyRequest, tokenHash: string): Promise<FoundToken | undefined> {
    const secret = readSecret(request, cookieName(tokenHash, this.options.insecure))
    const presented = { tokenHash, secretHash: secret && hashOf(secret), fingerprint: fingerprintOf(request) }
    const found = await this.store.find(presented, this.limits)
    if (!found || !isOfOrigin(request, found.record.origin)) return undefined
    const { kind, record, endsInMs } = found
    // The store's response takes time: `endsInMs` alone would move the end of the grant by that delay.
    const expiresAtMs = Math.min(record.grant.expiresAtMs ?? Infinity, Date.now() + endsInMs)
    return { kind, presented, grant: new Grant({ ...record.grant, expiresAtMs }, 'token', tokenHash) }
  }

  /**
   * Written to the raw response, because Fastify's headers have already been copied there when the stream is admitted.
   */
  #setCookies ({ raw, request }: FastifyReply, { tokenHash }: PresentedToken, secret: string, maxAgeMs: number): void {
    // A hijacked reply may have sent its headers already.
    if (raw.headersSent) return
    const { insecure: isInsecure } = this.options
    const lines = cookieLines(request, {
      name: cookieName(tokenHash, isInsecure),
      secret,
      nowMs: Date.now(),
      maxAgeMs,
      isInsecure
    })
    raw.appendHeader('set-cookie', lines)
  }
}

/**
 * Created in an encapsulated instance with `@fastify/rate-limit`: registered for the whole app, its default limit would
 * apply to every route of the app with `config.rateLimit`, in addition to the app's own limit.
 */
async function createCounter (app: FastifyInstance): Promise<RateCounter> {
  const counter: Partial<RateCounter> = {}
  await app.register(async instance => {
    await instance.register(rateLimit, { global: false, store: RateWindows })
    // Not the instance itself: it has a `then` method, which a promise would call.
    counter.createRateLimit = options => instance.createRateLimit(options)
  })
  return counter as RateCounter
}

const badToken = (): Error => new errors.FST_SSE_BAD_TOKEN('unknown, spent, too old or of another origin')

/** 256 bits. */
function newSecret (): string {
  return randomBytes(32).toString('base64url')
}

function hashOf (text: string): string {
  return createHash('sha256').update(text).digest('base64url')
}

/** What stays the same when a browser automatically repeats a request. */
function fingerprintOf ({ ip, headers }: FastifyRequest): string {
  return hashOf(JSON.stringify([ip, headers['user-agent'], headers['accept-language']]))
}

/** A page of the stream's own origin sends no Origin header, and clients other than browsers may omit it. */
function isOfOrigin ({ headers }: FastifyRequest, bound: string | undefined): boolean {
  return bound === undefined || headers.origin === undefined || headers.origin === bound
}
