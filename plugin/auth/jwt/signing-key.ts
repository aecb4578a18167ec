import type { FastifyBaseLogger } from 'fastify'
import type { JWTVerifyGetKey } from 'jose'
import { PUBLIC_KEY_ALGORITHMS } from './jwt-options.ts'
import type { JwtOptions } from './jwt-options.ts'
import { readPublicKey } from './public-key.ts'
import { RemoteKeySet } from './remote-key-set.ts'

/** A key with the algorithms it may be used with: a token never chooses its own algorithm. */
export interface SigningKey {
  key: JWTVerifyGetKey
  /** Tried if a signature does not match `key`. */
  previous?: Uint8Array
  algorithms: string[]
}

/** Creates the key from the options, which have already been checked. */
export function createSigningKey (options: JwtOptions, log: FastifyBaseLogger): SigningKey {
  if ('secret' in options) {
    const secret = Buffer.from(options.secret as string)
    const { previousSecret } = options
    const previous = previousSecret === undefined ? {} : { previous: Buffer.from(previousSecret as string) }
    return { key: () => secret, ...previous, algorithms: ['HS256'] }
  }
  if ('publicKey' in options) {
    const key = readPublicKey(options.publicKey)
    return { key: () => key, algorithms: [options.algorithm] }
  }
  const keySet = new RemoteKeySet(options.jwksUrl, log)
  return {
    key: (header, token) => keySet.find(header, token),
    algorithms: [...(options.algorithms ?? PUBLIC_KEY_ALGORITHMS)]
  }
}
