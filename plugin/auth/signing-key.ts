import { createPublicKey, KeyObject } from 'node:crypto'
import { createRemoteJWKSet, errors as jose } from 'jose'
import type { JWTVerifyGetKey } from 'jose'
import { errors } from '../errors.ts'
import { PUBLIC_KEY_ALGORITHMS } from './jwt-options.ts'
import type { JwtOptions, KeySet, PublicKey, PublicKeyAlgorithm } from './jwt-options.ts'

/** A key with the algorithms that may be verified with it: what a token says of itself never chooses. */
export interface SigningKey { key: JWTVerifyGetKey, algorithms: string[] }

/** After a failed fetch of a key set no other is tried for this long, so that requests do not become fetches. */
const FETCH_PAUSE_MS = 1_000

/** Makes the key that the options name; they have been checked. */
export function createSigningKey (options: JwtOptions): SigningKey {
  if ('secret' in options) {
    const secret = Buffer.from(options.secret as string)
    return { key: () => secret, algorithms: ['HS256'] }
  }
  if ('publicKey' in options) {
    const key = readPublicKey(options.publicKey)
    return { key: () => key, algorithms: [options.algorithm] }
  }
  return { key: remoteKey(options), algorithms: [...options.algorithms ?? PUBLIC_KEY_ALGORITHMS] }
}

/** Reads PEM (a key or a certificate), a JWK or a KeyObject. Throws what node:crypto throws, and for a private key. */
export function readPublicKey (key: PublicKey['publicKey']): KeyObject {
  if (key instanceof KeyObject) return key
  return typeof key === 'string' ? createPublicKey(key) : createPublicKey({ key, format: 'jwk' })
}

/** True when the key is of the kind that the algorithm signs with, and not too short. */
export function fitsAlgorithm (key: KeyObject, algorithm: PublicKeyAlgorithm): boolean {
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key
  if (key.type !== 'public') return false
  switch (algorithm) {
    case 'RS256': return type === 'rsa' && details!.modulusLength! >= 2048
    case 'ES256': return type === 'ec' && details!.namedCurve === 'prime256v1'
    case 'EdDSA': return type === 'ed25519'
  }
}

/** Tokens these say are wrong; anything else that goes wrong with a key set is the set's own trouble. */
const TOKENS_FAULT = [jose.JWKSNoMatchingKey, jose.JWKSMultipleMatchingKeys]

function remoteKey ({ jwksUrl }: KeySet): JWTVerifyGetKey {
  const keySet = createRemoteJWKSet(new URL(jwksUrl))
  let failure: { error: unknown, untilMs: number } | undefined
  return async (header, token) => {
    if (failure && Date.now() < failure.untilMs) throw new errors.FST_SSE_KEYS_UNAVAILABLE({ cause: failure.error })
    try {
      return await keySet(header, token)
    } catch (error) {
      if (TOKENS_FAULT.some(Fault => error instanceof Fault)) throw error
      failure = { error, untilMs: Date.now() + FETCH_PAUSE_MS }
      throw new errors.FST_SSE_KEYS_UNAVAILABLE({ cause: error })
    }
  }
}
