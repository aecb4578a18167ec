import type { KeyObject } from 'node:crypto'

/** Algorithms of public keys. A secret is always used with `HS256`. */
export const PUBLIC_KEY_ALGORITHMS = ['RS256', 'ES256', 'EdDSA'] as const
export type PublicKeyAlgorithm = (typeof PUBLIC_KEY_ALGORITHMS)[number]

/** A shared secret of at least 32 bytes; tokens are HS256. */
export interface SecretKey {
  secret: string | Uint8Array
  /** The previous secret: its tokens stay valid while the secret is being rotated. Default: none. */
  previousSecret?: string | Uint8Array
}

/**
 * A public key as JSON (RFC 7517). Declared here because versions of `@types/node` declare `JsonWebKey` in different
 * places.
 */
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

/** One public key: PEM, JWK or KeyObject. Tokens must use this algorithm. */
export interface PublicKey { publicKey: string | PublicJwk | KeyObject, algorithm: PublicKeyAlgorithm }

/**
 * The URL of a JWK Set; must be https unless the host is a loopback address. Fetched when needed, cached for 10
 * minutes, and fetched again for an unknown key, at most every 30 s. While it cannot be fetched, cached keys stay valid
 * until they are an hour old; other tokens get 503.
 */
export interface KeySet { jwksUrl: string | URL, algorithms?: readonly PublicKeyAlgorithm[] }

/** How a bearer token, or a JWT in a cookie, is verified. */
export type JwtOptions = (SecretKey | PublicKey | KeySet) & {
  /** Required value of `iss`. Default: not checked. */
  issuer?: string
  /**
   * Required audience in `aud`; or one audience for each right: a token then has only the rights of the audiences it
   * names. Default: not checked.
   */
  audience?: string | { subscribe: string, publish: string }
  /** How far the clocks may differ for `exp` and `nbf`, in ms. Default 0. */
  clockToleranceMs?: number
  /** The claim that contains `{ subscribe, publish }`, lists of topic patterns. Default `topics`. */
  claim?: string
  /** Maximum length of a token in bytes; longer ones are rejected before they are parsed. Default 8,192. */
  maxTokenBytes?: number
}
