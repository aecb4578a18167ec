import type { FastifyRequest } from 'fastify'
import { errors } from '../errors.ts'
import { TOKEN_PARAMETER } from './token-parameter.ts'
import type { FoundToken, OneTimeTokens } from './one-time-tokens.ts'
import type { Credential, CredentialSource, OneTimeUse } from '../credentials/credential.ts'

/** Finds `?ot=…`. A token is looked up first, and spent when nothing else can reject the request. */
export function tokenSource (tokens: OneTimeTokens): CredentialSource {
  return {
    kind: 'token',
    find: request => isPresented(request) ? tokenCredential(tokens, request) : undefined
  }
}

/** True for a token in any form: a malformed or duplicate token is rejected when it is verified. */
function isPresented ({ query }: FastifyRequest): boolean {
  return typeof query === 'object' && query !== null && TOKEN_PARAMETER in query
}

function tokenCredential (tokens: OneTimeTokens, request: FastifyRequest): Credential {
  return {
    kind: 'token',
    sender: 'script',
    isAskedAgain: false,
    isSelfContained: false,
    async verify () {
      // A client that can use another method can also send a header; and a handler with side effects must not run
      // twice.
      if (request.method !== 'GET' && request.method !== 'HEAD') {
        throw new errors.FST_SSE_UNAUTHORIZED('a one-time token is for GET: send other credentials with other methods')
      }
      const found = await tokens.find(request)
      return { grant: found.grant, oneTime: oneTimeUse(tokens, found) }
    }
  }
}

function oneTimeUse (tokens: OneTimeTokens, found: FoundToken): OneTimeUse {
  return {
    async spend (reply, use) {
      // A session resumes streams; any other response can be requested only once.
      if (use === 'answer' && found.kind !== 'fresh') throw new errors.FST_SSE_BAD_TOKEN('spent')
      return tokens.redeem(found, reply, use)
    },
    release: (turn, log) => tokens.release(found.presented.tokenHash, turn, log)
  }
}
