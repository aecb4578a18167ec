import { generateKeyPairSync, randomBytes } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { SignJWT } from 'jose'
import type { JWTPayload } from 'jose'

export const SECRET = randomBytes(32).toString('hex')

export interface Claims extends JWTPayload { topics?: unknown }

export interface SignOptions {
  key?: KeyObject | Uint8Array
  alg?: string
  header?: Record<string, unknown>
  expiresInS?: number
}

/** Seconds since 1970. */
export const nowS = (): number => Math.floor(Date.now() / 1_000)

/** A token for alice, valid for an hour, with all rights; HS256 with `SECRET` unless specified otherwise. */
export async function sign (
  claims: Claims = {},
  { key = Buffer.from(SECRET), alg = 'HS256', header = {}, expiresInS = 3_600 }: SignOptions = {}
): Promise<string> {
  const payload = { sub: 'alice', topics: { subscribe: ['*'], publish: ['*'] }, exp: nowS() + expiresInS, ...claims }
  return new SignJWT(payload).setProtectedHeader({ alg, ...header }).sign(key)
}

/** A token assembled by hand, as no library would do it. */
export function forge (header: object, payload: object, signature = ''): string {
  return [header, payload]
    .map(part => Buffer.from(JSON.stringify(part)).toString('base64url'))
    .concat(signature)
    .join('.')
}

export const bearer = (token: string): Record<string, string> => ({ authorization: `Bearer ${token}` })

export interface KeyPair { publicKey: KeyObject, privateKey: KeyObject, pem: string }

const withPem = (pair: { publicKey: KeyObject, privateKey: KeyObject }): KeyPair =>
  ({ ...pair, pem: pair.publicKey.export({ type: 'spki', format: 'pem' }) as string })

/** One key of each kind, created once. */
export const KEYS = {
  RS256: withPem(generateKeyPairSync('rsa', { modulusLength: 2048 })),
  ES256: withPem(generateKeyPairSync('ec', { namedCurve: 'P-256' })),
  EdDSA: withPem(generateKeyPairSync('ed25519'))
} as const
