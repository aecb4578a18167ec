import { errors } from '../errors.ts'
import { matchesPattern } from '../../common/pattern.ts'

/** Where a grant came from. */
export type GrantSource = 'bearer' | 'token' | 'cookie' | 'proxy'

/** A subject and its rights, as returned by an app's `verify` function or read from a JWT. */
export interface GrantInit {
  /** The subject; 1 to 256 characters. */
  subject: string
  /**
   * Patterns of topics that may be subscribed to, such as `orders.*`; an empty list allows none. Default: the route
   * decides.
   */
  subscribe?: readonly string[] | undefined
  /** Patterns of topics that may be published to, with the same rules. */
  publish?: readonly string[] | undefined
  /** When it ends, in Unix ms; a stream ends with it. Default: never. */
  expiresAtMs?: number | undefined
  /**
   * When it was issued, in Unix ms; a revocation of the subject ends grants issued before it. Default: any revocation
   * of the subject ends it.
   */
  issuedAtMs?: number | undefined
  /**
   * Whether the bearer may revoke other subjects and sessions, as a service of the app does; never true for a one-time
   * token. Default false.
   */
  revoke?: boolean | undefined
}

/** What a request may do: `request.grant`. Comes from a single source; sources are never merged. */
export class Grant {
  readonly subject: string
  readonly subscribe: readonly string[] | undefined
  readonly publish: readonly string[] | undefined
  readonly expiresAtMs: number | undefined
  readonly issuedAtMs: number | undefined
  readonly revoke: boolean
  readonly source: GrantSource
  /** The session that a one-time token started, for `revoke({ session })`; undefined for other sources. */
  readonly session: string | undefined

  constructor (
    { subject, subscribe, publish, expiresAtMs, issuedAtMs, revoke = false }: GrantInit,
    source: GrantSource,
    session?: string
  ) {
    this.subject = subject
    this.subscribe = subscribe
    this.publish = publish
    this.expiresAtMs = expiresAtMs
    this.issuedAtMs = issuedAtMs
    this.revoke = revoke
    this.source = source
    this.session = session
  }

  /** True when the topic may be subscribed to. */
  maySubscribe (topic: string): boolean {
    return covers(this.subscribe, topic)
  }

  /** True when the topic may be published to. */
  mayPublish (topic: string): boolean {
    return covers(this.publish, topic)
  }

  /** Throws 403 `FST_SSE_FORBIDDEN` naming the first topic that may not be subscribed to. */
  checkSubscribe (topics: string | readonly string[]): void {
    const refused = [topics].flat().find(topic => !this.maySubscribe(topic))
    if (refused !== undefined) throw this.#forbidden('subscribe to topic', refused)
  }

  /** Throws 403 `FST_SSE_FORBIDDEN` if the topic may not be published to. */
  checkPublish (topic: string): void {
    if (!this.mayPublish(topic)) throw this.#forbidden('publish to topic', topic)
  }

  /** With the `WWW-Authenticate` header that RFC 6750, section 3.1 requires; Fastify copies it from the error. */
  #forbidden (what: string, topic: string): Error {
    const error = new errors.FST_SSE_FORBIDDEN(what, topic)
    return this.source === 'bearer'
      ? Object.assign(error, { headers: { 'www-authenticate': 'Bearer error="insufficient_scope"' } })
      : error
  }
}

function covers (patterns: readonly string[] | undefined, topic: string): boolean {
  return patterns === undefined || patterns.some(pattern => matchesPattern(pattern, topic))
}
