import type { KeyObject } from 'node:crypto'

/** Algorithms of public keys. A secret has `HS256` and nothing else. */
export const PUBLIC_KEY_ALGORITHMS = ['RS256', 'ES256', 'EdDSA'] as const
export type PublicKeyAlgorithm = (typeof PUBLIC_KEY_ALGORITHMS)[number]

/** A shared secret of at least 32 bytes; tokens are HS256. */
export interface SecretKey {
  secret: string | Uint8Array
  /** The secret before this one: its tokens stay valid while the secret is being changed. Default: none. */
  previousSecret?: string | Uint8Array
}

/** A public key as JSON (RFC 7517); `JsonWebKey` is not declared in the same place by all versions of `@types/node`. */
export interface PublicJwk {
  kty?: string
  alg?: string
  crv?: string
  e?: string
  ext?: boolean
  key_ops?: string[]
  kid?: string
  n?: string
  use?: string
  x?: string
  y?: string
}

/** One public key: PEM, JWK or KeyObject. Tokens have this algorithm and no other. */
export interface PublicKey { publicKey: string | PublicJwk | KeyObject, algorithm: PublicKeyAlgorithm }

/**
 * A JWK Set at a URL, https unless it is on loopback. Fetched when needed, kept for 10 minutes, and fetched anew for a
 * key it does not have, at most every 30 s. While it cannot be fetched the keys it had go on being used until they are
 * an hour old; other tokens get 503.
 */
export interface KeySet { jwksUrl: string | URL, algorithms?: readonly PublicKeyAlgorithm[] }

/** How a bearer token, or a JWT in a cookie, is verified. */
export type JwtOptions = (SecretKey | PublicKey | KeySet) & {
  /** `iss` must be this. Default: not looked at. */
  issuer?: string
  /**
   * `aud` must name this; or one audience for each right, and a token has the rights of the audiences it names.
   * Default: not looked at.
   */
  audience?: string | { subscribe: string, publish: string }
  /** How far the clocks may differ for `exp` and `nbf`, in ms. Default 0. */
  clockToleranceMs?: number
  /** The claim with `{ subscribe, publish }`, lists of patterns of topics. Default `topics`. */
  claim?: string
  /** Longer tokens are refused before they are looked into, in bytes. Default 8,192. */
  maxTokenBytes?: number
}
