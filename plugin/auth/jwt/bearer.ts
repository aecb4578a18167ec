import type { FastifyRequest } from 'fastify'
import type { JwtVerifier } from './jwt.ts'
import { readOnce } from '../source.ts'
import type { Source } from '../source.ts'

/** `Authorization: Bearer <JWT>`. Other schemes are somebody else's. */
export function bearerSource (verifier: JwtVerifier): Source {
  return {
    kind: 'bearer',
    sender: 'client',
    isAskedAgain: false,
    isSelfContained: true,
    read: readBearer,
    verify: token => verifier.verify(token)
  }
}

function readBearer (request: FastifyRequest): string | undefined {
  return /^bearer(?: +(.*))?$/i.exec(readOnce(request, 'authorization') ?? '')?.slice(1).map(token => token ?? '')[0]
}
