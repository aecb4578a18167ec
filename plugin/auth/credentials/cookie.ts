import type { FastifyInstance, FastifyRequest } from 'fastify'
import { errors } from '../errors.ts'
import { checkGrantInit } from '../grants/grant-init.ts'
import type { GrantInit } from '../grants/grant.ts'
import type { JwtVerifier } from '../jwt/jwt.ts'
import type { CredentialSource } from './credential.ts'

/**
 * Called with the value of the cookie, for every request and again while a stream is open. Null rejects the request
 * with 401; an exception is an error of the application.
 */
export type VerifyCookie = (value: string, request: FastifyRequest) => GrantInit | null | Promise<GrantInit | null>

/**
 * A session cookie, signed unless `signed` is false; or a cookie that contains a JWT, verified with the option `jwt`.
 */
export type CookieOptions =
  | { name: string, signed?: boolean, verify: VerifyCookie, jwt?: false }
  | { name: string, jwt: true }

/** What @fastify/cookie adds to an app; `unsignCookie` exists only if it was registered with a secret. */
interface CookieParser {
  parseCookie: (header: string) => Record<string, string | undefined>
  unsignCookie?: (value: string) => { valid: boolean, value: string | null }
}

/**
 * Throws `FST_SSE_BAD_OPTION` if @fastify/cookie is not registered, or has no secret for signed cookies. Called when
 * the app is ready, so that @fastify/cookie may be registered after `auth`.
 */
export function checkCookieParser (app: FastifyInstance, options: CookieOptions): void {
  const parser = app as unknown as CookieParser
  if (typeof parser.parseCookie !== 'function') {
    const range = 'given together with @fastify/cookie, which the app registers'
    throw new errors.FST_SSE_BAD_OPTION('auth', 'cookie', range, 'an app without it')
  }
  if (isSigned(options) && typeof parser.unsignCookie !== 'function') {
    const range = 'false, or @fastify/cookie registered with a secret'
    throw new errors.FST_SSE_BAD_OPTION('auth', 'cookie.signed', range, 'true and no secret')
  }
}

const isSigned = (options: CookieOptions): boolean => options.jwt !== true && options.signed !== false

/** Finds the cookie; `verifier` is set if the cookie contains a JWT. */
export function cookieSource (
  app: FastifyInstance, options: CookieOptions, verifier: JwtVerifier | undefined
): CredentialSource {
  // Used only when the app is ready, after `checkCookieParser`.
  const parser = app as unknown as Required<CookieParser>
  const unsign = unsigner(parser, options)
  return {
    kind: 'cookie',
    find (request) {
      const cookie = readCookie(request, options.name, parser)
      if (cookie === undefined) return undefined
      return {
        kind: 'cookie',
        sender: 'browser',
        isAskedAgain: options.jwt !== true,
        isSelfContained: options.jwt === true,
        async verify () {
          const value = unsign(cookie)
          const grant = options.jwt === true
            ? await verifier!.verify(value)
            : checkGrantInit('cookie.verify', await options.verify(value, request))
          return grant && { grant }
        }
      }
    }
  }
}

/** Returns the value of a cookie without its signature. Throws 401 if the signature is wrong. */
function unsigner (parser: Required<CookieParser>, options: CookieOptions): (cookie: string) => string {
  if (!isSigned(options)) return cookie => cookie
  return cookie => {
    const { valid, value } = parser.unsignCookie(cookie)
    if (valid) return value!
    throw new errors.FST_SSE_UNAUTHORIZED(`the cookie "${options.name}" is not signed by this server: sign in again`)
  }
}

/**
 * Throws 401 for duplicates: a neighbouring subdomain can set a cookie of the same name, which the browser sends as
 * well and possibly first.
 */
function readCookie (request: FastifyRequest, name: string, parser: CookieParser): string | undefined {
  const header = request.headers.cookie
  if (header === undefined) return undefined
  const count = header.split(';').filter(pair => pair.split('=', 1)[0]!.trim() === name).length
  if (count > 1) {
    const remedy = 'delete the cookies of this site and sign in again'
    throw new errors.FST_SSE_UNAUTHORIZED(`the cookie "${name}" was sent twice: ${remedy}`)
  }
  return parser.parseCookie(header)[name]
}
