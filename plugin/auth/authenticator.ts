import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { addAdmission } from '../reply/admission.ts'
import { errors } from '../reply/errors.ts'
import { bearerSource } from './jwt/bearer.ts'
import { cookieSource } from './cookie.ts'
import { Grant } from './grant.ts'
import type { GrantInit, GrantSource } from './grant.ts'
import type { JwtVerifier } from './jwt/jwt.ts'
import type { OneTimeTokens } from './one-time/one-time-tokens.ts'
import type { OpenStream, OpenStreams } from './open-streams.ts'
import type { AuthOptions } from './options.ts'
import { proxySource } from './proxy.ts'
import type { Revocation } from './revocation.ts'
import { SiteCheck } from './site.ts'
import type { Source } from './source.ts'
import { tokenSource } from './one-time/token-source.ts'

interface AuthenticatorInit {
  app: FastifyInstance
  options: AuthOptions
  streams: OpenStreams
  revocation: Revocation
  tokens: OneTimeTokens | undefined
  verifier: JwtVerifier | undefined
}

/**
 * Turns a request into a grant, in this order; what fails leaves nothing spent and nothing asked:
 *
 * ```
 *   Host ─▶ first source with a credential ─▶ page it comes from ─▶ verify ─▶ revoked? ─▶ request.grant
 * ```
 */
export class Authenticator {
  readonly #streams: OpenStreams
  readonly #revocation: Revocation
  readonly #site: SiteCheck
  readonly #sources: readonly Source[]

  constructor ({ app, options, streams, revocation, tokens, verifier }: AuthenticatorInit) {
    this.#streams = streams
    this.#revocation = revocation
    this.#site = new SiteCheck(options)
    this.#sources = [
      verifier && bearerSource(verifier),
      tokens && tokenSource(tokens),
      options.cookie && cookieSource(app, options.cookie, verifier),
      options.proxy && proxySource(options.proxy)
    ].filter(source => source !== undefined)
  }

  /** Throws 421, 401, 403 or 503 with what to do next. */
  async authenticate (request: FastifyRequest): Promise<Grant> {
    this.#site.checkHost(request)
    const { source, credential } = this.#presented(request)
    if (source.sender === 'browser') this.#site.checkPage(request)
    if (source.sender === 'script') this.#site.checkScript(request)
    const ask = async (): Promise<Grant | null> => toGrant(await source.verify(credential, request), source)
    const grant = await ask()
    if (grant === null) throw new errors.FST_SSE_UNAUTHORIZED(REFUSALS[source.kind])
    if (isExpired(grant)) throw new errors.FST_SSE_UNAUTHORIZED('what these credentials granted has expired: get new ones')
    this.#checkRevoked(grant)
    if (source.isSelfContained && this.#revocation.isTooOld(grant)) throw new errors.FST_SSE_UNAUTHORIZED('the token is older than what is remembered of revocations, so that it may have been revoked: get a new one')
    this.#admit(request, grant, source, source.isAskedAgain ? ask : undefined)
    return grant
  }

  /** True when some source has credentials that can be used once. */
  get canSpend (): boolean { return this.#sources.some(({ spend }) => spend !== undefined) }

  /** Before an answer that is no stream and no refusal: what can be used once is spent by it, too. */
  async spend (request: FastifyRequest, reply: FastifyReply): Promise<void> {
    const source = this.#sources.find(({ kind }) => kind === request.grant?.source)
    await source?.spend?.(request, reply, 'answer')
  }

  #presented (request: FastifyRequest): { source: Source, credential: string } {
    for (const source of this.#sources) {
      const credential = source.read(request)
      if (credential !== undefined) return { source, credential }
    }
    throw new errors.FST_SSE_UNAUTHORIZED(`no credentials: send ${this.#sources.map(({ kind }) => CREDENTIALS[kind]).join(' or ')}`)
  }

  /** The topics are checked whenever a source names some; the stream is watched from its first byte on. */
  #admit (request: FastifyRequest, grant: Grant, source: Source, askAgain: OpenStream['askAgain']): void {
    let open: OpenStream | undefined
    addAdmission(request, {
      // Also while it streams: a source may come to its topics late, and a grant may have been renewed by then.
      check: topics => (open?.grant ?? grant).checkSubscribe(topics),
      // Among the streams before anything is spent: whatever is told from here on finds it there, and what was told before is
      // looked for. Whoever is refused here is let go with the stream, which is over then.
      admit: async (stream, reply) => {
        open = this.#streams.add({ stream, grant, askAgain })
        this.#checkRevoked(grant)
        if (source.spend) await this.#takeTurn(open, source, request, reply)
      }
    })
  }

  async #takeTurn (open: OpenStream, source: Source, request: FastifyRequest, reply: FastifyReply): Promise<void> {
    const turn = await source.spend!(request, reply, 'stream')
    void open.stream.closed.then(() => source.release?.(open.grant.session!, turn, request.log))
    this.#streams.takeTurn(open, turn)
  }

  #checkRevoked (grant: Grant): void {
    if (this.#revocation.isRevoked(grant)) throw new errors.FST_SSE_UNAUTHORIZED('what these credentials granted was taken back: get new ones')
  }
}

/** What a request without credentials may send. */
const CREDENTIALS: Record<GrantSource, string> = {
  bearer: 'a token as "Authorization: Bearer …"',
  token: 'a one-time token as "?ot=…"',
  cookie: 'the session cookie',
  proxy: 'the request through the proxy that authenticates'
}

/** What to do when a source was asked and said no. */
const REFUSALS: Record<GrantSource, string> = {
  bearer: 'the token is not valid: get a new one',
  token: 'the one-time token is not valid, was used before, or is too old: get a new one',
  cookie: 'the session is not valid any more: sign in again',
  proxy: 'the proxy names nobody who may come in: sign in as somebody else'
}

function toGrant (granted: GrantInit | Grant | null, source: Source): Grant | null {
  return granted === null || granted instanceof Grant ? granted : new Grant(granted, source.kind)
}

function isExpired ({ expiresAtMs }: Grant): boolean {
  return expiresAtMs !== undefined && expiresAtMs <= Date.now()
}
