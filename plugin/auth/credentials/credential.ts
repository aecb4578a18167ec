import type { FastifyBaseLogger, FastifyReply, FastifyRequest } from 'fastify'
import { errors } from '../errors.ts'
import type { Grant, GrantInit, GrantSource } from '../grants/grant.ts'

/**
 * What one request presents, through all stages of its use. Each stage is an object that only the previous one creates,
 * so that nothing can be spent that was not verified:
 *
 * ```
 *   CredentialSource ──find──▶ Credential ──verify──▶ VerifiedCredential ──oneTime.spend──▶ turn ──oneTime.release
 * ```
 */
export interface Credential {
  readonly kind: GrantSource
  /**
   * Who may have sent it. `client`: someone who knows it. `browser`: the browser, which sends it automatically, even
   * for pages of other sites. `script`: it is in the URL, and only scripts may open that URL.
   */
  readonly sender: 'client' | 'browser' | 'script'
  /** True if the application is asked again while a stream is open. */
  readonly isAskedAgain: boolean
  /**
   * True if the credential alone proves the grant: no application code is asked that could know that the subject no
   * longer exists.
   */
  readonly isSelfContained: boolean
  /**
   * Returns what it grants; null if it is invalid. Throws 401 with a message that says how to fix it, or 503 if that
   * cannot be decided now. Spends nothing, and may be called again.
   */
  verify: () => Promise<VerifiedCredential | null>
}

export interface VerifiedCredential {
  readonly grant: GrantInit | Grant
  /** Present if the credential can be used only once. */
  readonly oneTime?: OneTimeUse
}

/** The single use of a verified credential. */
export interface OneTimeUse {
  /**
   * Spends the credential and returns the turn of the stream that spent it, see `RedeemedToken`. Throws 401 if another
   * request was faster and, for a response other than a stream, if this is not the first use.
   */
  spend: (reply: FastifyReply, use: 'stream' | 'answer') => Promise<number>
  /** Reports that the stream of this turn is over. */
  release: (turn: number, log: FastifyBaseLogger) => void
}

/**
 * A part of requests in which credentials are looked up. The first source that finds a credential decides: if it is
 * invalid, the request is rejected and no other source is asked.
 */
export interface CredentialSource {
  readonly kind: GrantSource
  /** The credential of the request; undefined without one. Throws 401 for duplicates. */
  find: (request: FastifyRequest) => Credential | undefined
}

/**
 * The value of a header; undefined when it is absent. Throws 401 for duplicates: intermediaries disagree on which of
 * them counts, and Node drops or joins the second one.
 */
export function readOnce (request: FastifyRequest, header: string): string | undefined {
  const { headers, rawHeaders } = request.raw
  let count = 0
  for (let i = 0; i < rawHeaders.length; i += 2) if (rawHeaders[i]!.toLowerCase() === header) count++
  if (count > 1) throw new errors.FST_SSE_UNAUTHORIZED(`the header ${header} was sent twice: send it once`)
  const value = headers[header]
  return typeof value === 'string' ? value : undefined
}
