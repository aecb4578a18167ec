import { createPublicKey, KeyObject } from 'node:crypto'
import type { FastifyBaseLogger } from 'fastify'
import type { JWTVerifyGetKey } from 'jose'
import { PUBLIC_KEY_ALGORITHMS } from './jwt-options.ts'
import type { JwtOptions, PublicKey, PublicKeyAlgorithm } from './jwt-options.ts'
import { RemoteKeySet } from './remote-key-set.ts'

/** A key with the algorithms that may be verified with it: what a token says of itself never chooses. */
export interface SigningKey { key: JWTVerifyGetKey, algorithms: string[] }

/** Makes the key that the options name; they have been checked. */
export function createSigningKey (options: JwtOptions, log: FastifyBaseLogger): SigningKey {
  if ('secret' in options) {
    const secret = Buffer.from(options.secret as string)
    return { key: () => secret, algorithms: ['HS256'] }
  }
  if ('publicKey' in options) {
    const key = readPublicKey(options.publicKey)
    return { key: () => key, algorithms: [options.algorithm] }
  }
  const keySet = new RemoteKeySet(options.jwksUrl, log)
  return { key: (header, token) => keySet.find(header, token), algorithms: [...options.algorithms ?? PUBLIC_KEY_ALGORITHMS] }
}

/** Reads PEM (a key or a certificate), a JWK or a KeyObject. Throws what node:crypto throws, and for a private key. */
export function readPublicKey (key: PublicKey['publicKey']): KeyObject {
  if (key instanceof KeyObject) return key
  return typeof key === 'string' ? createPublicKey(key) : createPublicKey({ key: { ...key }, format: 'jwk' })
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
