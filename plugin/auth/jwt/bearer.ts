import type { FastifyRequest } from 'fastify'
import { readOnce } from '../credentials/credential.ts'
import type { CredentialSource } from '../credentials/credential.ts'
import type { JwtVerifier } from './jwt.ts'

/** Finds `Authorization: Bearer <JWT>`. Other authentication schemes are ignored. */
export function bearerSource (verifier: JwtVerifier): CredentialSource {
  return {
    kind: 'bearer',
    find (request) {
      const token = readBearer(request)
      if (token === undefined) return undefined
      return {
        kind: 'bearer',
        sender: 'client',
        isAskedAgain: false,
        isSelfContained: true,
        verify: async () => ({ grant: await verifier.verify(token) })
      }
    }
  }
}

function readBearer (request: FastifyRequest): string | undefined {
  const match = /^bearer(?: +(.*))?$/i.exec(readOnce(request, 'authorization') ?? '')
  return match === null ? undefined : match[1] ?? ''
}
