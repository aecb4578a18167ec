import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { addAdmission } from '../reply/request/admission.ts'
import { errors } from './errors.ts'
import { bearerSource } from './jwt/bearer.ts'
import { cookieSource } from './credentials/cookie.ts'
import type { Credential, CredentialSource, OneTimeUse, VerifiedCredential } from './credentials/credential.ts'
import { Grant } from './grants/grant.ts'
import type { GrantSource } from './grants/grant.ts'
import type { JwtVerifier } from './jwt/jwt.ts'
import type { OneTimeTokens } from './one-time/one-time-tokens.ts'
import type { GrantedStream, GrantedStreams } from './grants/granted-streams.ts'
import type { AuthOptions } from './options.ts'
import { proxySource } from './proxy.ts'
import type { Revocation } from './grants/revocation.ts'
import { SiteCheck } from './credentials/site-check.ts'
import { tokenSource } from './one-time/token-credential.ts'

interface AuthenticatorInit {
  app: FastifyInstance
  options: AuthOptions
  streams: GrantedStreams
  revocation: Revocation
  tokens: OneTimeTokens | undefined
  verifier: JwtVerifier | undefined
}

/** A request that has been authenticated. */
export interface Authenticated {
  grant: Grant
  /**
   * Present if the credential can be used only once; a stream spends it itself, and for any other response the guard
   * must spend it.
   */
  oneTime: OneTimeUse | undefined
}

/**
 * Turns a request into a grant, in this order; a request that is rejected spends nothing:
 *
 * ```
 *   Host ─▶ first source with a credential ─▶ page it comes from ─▶ verify ─▶ revoked? ─▶ request.grant
 * ```
 */
export class Authenticator {
  readonly #streams: GrantedStreams
  readonly #revocation: Revocation
  readonly #site: SiteCheck
  readonly #sources: readonly CredentialSource[]
  /** True if some credentials can be used only once. */
  readonly hasOneTimeCredentials: boolean

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
    this.hasOneTimeCredentials = tokens !== undefined
  }

  /** Throws 421, 401, 403 or 503, with a message that says how to fix it. */
  async authenticate (request: FastifyRequest): Promise<Authenticated> {
    this.#site.checkHost(request)
    const credential = this.#find(request)
    if (credential.sender === 'browser') this.#site.checkPage(request)
    if (credential.sender === 'script') this.#site.checkScript(request)
    const verified = await credential.verify()
    if (verified === null) throw new errors.FST_SSE_UNAUTHORIZED(REFUSALS[credential.kind])
    const grant = toGrant(verified, credential)
    if (isExpired(grant)) throw new errors.FST_SSE_UNAUTHORIZED(EXPIRED)
    this.checkRevoked(grant)
    if (credential.isSelfContained && this.#revocation.isTooOld(grant)) throw new errors.FST_SSE_UNAUTHORIZED(TOO_OLD)
    this.#admit(request, { grant, credential, oneTime: verified.oneTime })
    return { grant, oneTime: verified.oneTime }
  }

  #find (request: FastifyRequest): Credential {
    for (const source of this.#sources) {
      const credential = source.find(request)
      if (credential !== undefined) return credential
    }
    const accepted = this.#sources.map(({ kind }) => CREDENTIALS[kind]).join(' or ')
    throw new errors.FST_SSE_UNAUTHORIZED(`no credentials: send ${accepted}`)
  }

  /** Topics are checked each time a source names some; the stream is tracked from its first byte. */
  #admit (request: FastifyRequest, { grant, credential, oneTime }: Authenticated & { credential: Credential }): void {
    const askAgain = credential.isAskedAgain ? () => this.#askAgain(credential) : undefined
    let open: GrantedStream | undefined
    addAdmission(request, {
      owner: grant,
      // Checked during the stream as well: a source may name its topics late, and the grant may have been renewed by
      // then.
      check: topics => (open?.grant ?? grant).checkSubscribe(topics),
      // Registered before anything is spent: later revocations find the stream, and earlier ones are looked up. A
      // stream that is rejected here is unregistered when it closes.
      admit: async (stream, reply) => {
        open = this.#streams.add({ stream, grant, askAgain })
        this.checkRevoked(grant)
        if (oneTime) await this.#takeTurn(open, oneTime, reply)
      }
    })
  }

  async #takeTurn (open: GrantedStream, oneTime: OneTimeUse, reply: FastifyReply): Promise<void> {
    const turn = await oneTime.spend(reply, 'stream')
    // Not the reply itself: it would be retained for as long as the stream is open.
    const { log } = reply.request
    void open.stream.closed.then(() => oneTime.release(turn, log))
    this.#streams.takeTurn(open, turn)
  }

  /** What a new request with the same credential would be granted; null if the request would be rejected. */
  async #askAgain (credential: Credential): Promise<Grant | null> {
    const verified = await credential.verify()
    const grant = verified && toGrant(verified, credential)
    return grant && this.#revocation.isRevoked(grant) ? null : grant
  }

  /** Throws 401 if the grant is revoked, even if that happened after its request was authenticated. */
  checkRevoked (grant: Grant): void {
    if (!this.#revocation.isRevoked(grant)) return
    throw new errors.FST_SSE_UNAUTHORIZED(grant.issuedAtMs === undefined ? UNDATED : REVOKED)
  }
}

const EXPIRED = 'the credentials have expired: request new ones'
const REVOKED = 'the credentials were revoked: request new ones'
/** Signing in again does not help here: whoever issues the credentials must add the time. */
const UNDATED =
  'the subject was revoked, and without a time of issue these credentials cannot count as newer: ' +
  'a token needs the claim "iat", a `verify` function must return "issuedAtMs"'
const TOO_OLD = 'the token predates the stored revocations and may have been revoked: request a new one'

/** The credentials that a request may send. */
const CREDENTIALS: Record<GrantSource, string> = {
  bearer: 'a token as "Authorization: Bearer …"',
  token: 'a one-time token as "?ot=…"',
  cookie: 'the session cookie',
  proxy: 'the request through the proxy that authenticates'
}

/** The message for an invalid credential. */
const REFUSALS: Record<GrantSource, string> = {
  bearer: 'the token is not valid: get a new one',
  token: 'the one-time token is not valid, was used before, or is too old: get a new one',
  cookie: 'the session is not valid any more: sign in again',
  proxy: 'the user named by the proxy has no access: sign in as a different user'
}

function toGrant ({ grant }: VerifiedCredential, { kind }: Credential): Grant {
  return grant instanceof Grant ? grant : new Grant(grant, kind)
}

function isExpired ({ expiresAtMs }: Grant): boolean {
  return expiresAtMs !== undefined && expiresAtMs <= Date.now()
}
