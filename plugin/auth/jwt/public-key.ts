import { createPublicKey, KeyObject } from 'node:crypto'
import type { PublicKey, PublicKeyAlgorithm } from './jwt-options.ts'

/**
 * Reads PEM (a key or a certificate), a JWK or a KeyObject. Throws the error of node:crypto; also throws for a private
 * key.
 */
export function readPublicKey (key: PublicKey['publicKey']): KeyObject {
  if (key instanceof KeyObject) return key
  return typeof key === 'string' ? createPublicKey(key) : createPublicKey({ key: { ...key }, format: 'jwk' })
}

/** True if the key has the type that the algorithm requires and is long enough. */
export function fitsAlgorithm (key: KeyObject, algorithm: PublicKeyAlgorithm): boolean {
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key
  if (key.type !== 'public') return false
  switch (algorithm) {
    case 'RS256': return type === 'rsa' && details!.modulusLength! >= 2048
    case 'ES256': return type === 'ec' && details!.namedCurve === 'prime256v1'
    case 'EdDSA': return type === 'ed25519'
  }
}
