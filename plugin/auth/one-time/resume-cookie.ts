import type { FastifyRequest } from 'fastify'

/** A browser keeps at most this many of our cookies; setting another one deletes the oldest. */
export const MAX_COOKIES = 16

const OURS = /^(?:__Host-)?sse-[\w-]{16}$/
const VALUE = /^([0-9a-z]{1,11})\.([\w-]{43})$/

/** The parsed value of one of our cookies. */
interface Carried { sinceMs: number, secret: string | undefined }

/**
 * The cookie of one session: named after its token, so that the tabs and streams of one browser do not overwrite each
 * other's cookies. The prefix `__Host-` prevents other hosts from setting it (RFC 6265bis, section 4.1.3.2).
 */
export function cookieName (tokenHash: string, isInsecure: boolean): string {
  return `${isInsecure ? '' : '__Host-'}sse-${tokenHash.slice(0, 16)}`
}

/**
 * The secret in the cookie of this name; undefined if there is none, or if there are two: one of them was set by an
 * attacker.
 */
export function readSecret (request: FastifyRequest, name: string): string | undefined {
  return cookiesOf(request).get(name)?.secret
}

export interface ResumeCookie { name: string, secret: string, nowMs: number, maxAgeMs: number, isInsecure: boolean }

/** The `Set-Cookie` values that keep a secret: the new cookie first, then the deletion of cookies beyond the limit. */
export function cookieLines (
  request: FastifyRequest,
  { name, secret, nowMs, maxAgeMs, isInsecure }: ResumeCookie
): string[] {
  const attributes = attributesFor(request, isInsecure)
  const line = (name: string, value: string, maxAge: number): string =>
    `${name}=${value}; Max-Age=${maxAge}; ${attributes}`
  const others = [...cookiesOf(request)]
    .filter(([other]) => other !== name)
    .sort(([, a], [, b]) => b.sinceMs - a.sinceMs)
  const tooMany = others.slice(MAX_COOKIES - 1).map(([other]) => line(other, '', 0))
  return [line(name, `${nowMs.toString(36)}.${secret}`, Math.ceil(maxAgeMs / 1000)), ...tooMany]
}

/** Parsed here, because a library would silently keep one of two cookies of the same name. */
function cookiesOf ({ headers: { cookie = '' } }: FastifyRequest): Map<string, Carried> {
  const found = new Map<string, Carried>()
  for (const pair of cookie.split(';')) {
    const [name = '', value = ''] = pair.trim().split('=')
    if (!OURS.test(name)) continue
    const [, since = '0', secret] = VALUE.exec(value) ?? []
    found.set(name, found.has(name) ? { sinceMs: 0, secret: undefined } : { sinceMs: parseInt(since, 36), secret })
  }
  return found
}

function attributesFor (request: FastifyRequest, isInsecure: boolean): string {
  if (isInsecure) return 'Path=/; HttpOnly; SameSite=Strict'
  return `Path=/; HttpOnly; Secure; ${isCrossSite(request) ? 'SameSite=None; Partitioned' : 'SameSite=Strict'}`
}

/** Browsers without `Sec-Fetch-Site` (Safari before 16.4) at least send the page's origin if it is a different one. */
function isCrossSite ({ headers, host }: FastifyRequest): boolean {
  const { 'sec-fetch-site': site, origin } = headers
  if (site !== undefined) return site === 'cross-site'
  return origin !== undefined && origin.replace(/^https?:\/\//, '') !== host
}
