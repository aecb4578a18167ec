import type { FastifyInstance, FastifyRequest } from 'fastify'
import { errors } from '../reply/errors.ts'
import { checkGrantInit } from './grant-init.ts'
import type { GrantInit } from './grant.ts'
import type { JwtVerifier } from './jwt/jwt.ts'
import type { Source } from './source.ts'

/** Asked with the cookie's value, at every connect and again while a stream is open; null refuses. A throw is no refusal but an error. */
export type VerifyCookie = (value: string, request: FastifyRequest) => GrantInit | null | Promise<GrantInit | null>

/** A session cookie, signed unless told otherwise; or a JWT in a cookie, verified as `jwt` says. */
export type CookieOptions =
  | { name: string, signed?: boolean, verify: VerifyCookie, jwt?: false }
  | { name: string, jwt: true }

/** What @fastify/cookie gives an app; the signing half only with a secret. */
interface CookieParser {
  parseCookie: (header: string) => Record<string, string | undefined>
  unsignCookie?: (value: string) => { valid: boolean, value: string | null }
}

/** Throws `FST_SSE_BAD_OPTION` when @fastify/cookie is not there, or has no secret for signed cookies. Asked when the app is ready. */
export function checkCookieParser (app: FastifyInstance, options: CookieOptions): void {
  const parser = app as unknown as CookieParser
  if (typeof parser.parseCookie !== 'function') throw new errors.FST_SSE_BAD_OPTION('auth', 'cookie', 'given together with @fastify/cookie, which the app registers', 'an app without it')
  if (isSigned(options) && typeof parser.unsignCookie !== 'function') throw new errors.FST_SSE_BAD_OPTION('auth', 'cookie.signed', 'false, or @fastify/cookie registered with a secret', 'true and no secret')
}

const isSigned = (options: CookieOptions): boolean => options.jwt !== true && options.signed !== false

/** The cookie as a source; `verifier` is there when the cookie holds a JWT. */
export function cookieSource (app: FastifyInstance, options: CookieOptions, verifier: JwtVerifier | undefined): Source {
  const parser = app as unknown as Required<CookieParser>
  const unsign = isSigned(options) ? (value: string) => parser.unsignCookie(value) : (value: string) => ({ valid: true, value })
  return {
    kind: 'cookie',
    sender: 'browser',
    isAskedAgain: options.jwt !== true,
    isSelfContained: options.jwt === true,
    read: request => readCookie(request, options.name, parser),
    async verify (cookie, request) {
      const { valid, value } = unsign(cookie)
      if (!valid) throw new errors.FST_SSE_UNAUTHORIZED(`the cookie "${options.name}" is not signed by this server: sign in again`)
      if (options.jwt === true) return verifier!.verify(value!)
      const init = await options.verify(value!, request)
      return init === null ? null : checkGrantInit('cookie.verify', init)
    }
  }
}

/**
 * Throws 401 when the name is there twice: a neighbouring subdomain can set a cookie that the browser sends beside ours,
 * and in front of it.
 */
function readCookie (request: FastifyRequest, name: string, parser: CookieParser): string | undefined {
  const header = request.headers.cookie
  if (header === undefined) return undefined
  const count = header.split(';').filter(pair => pair.split('=', 1)[0]!.trim() === name).length
  if (count > 1) throw new errors.FST_SSE_UNAUTHORIZED(`the cookie "${name}" was sent twice: delete the cookies of this site and sign in again`)
  return parser.parseCookie(header)[name]
}
