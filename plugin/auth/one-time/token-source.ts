import type { FastifyRequest } from 'fastify'
import { errors } from '../../reply/errors.ts'
import { TOKEN_PARAMETER } from './one-time-tokens.ts'
import type { FoundToken, OneTimeTokens } from './one-time-tokens.ts'
import type { Source } from '../source.ts'

/** `?ot=…` as a source. A token is looked up first and spent when nothing else can refuse the request. */
export function tokenSource (tokens: OneTimeTokens): Source {
  const found = new WeakMap<FastifyRequest, FoundToken>()
  return {
    kind: 'token',
    sender: 'script',
    isAskedAgain: false,
    isSelfContained: false,
    read: ({ query }) => typeof query === 'object' && query !== null && TOKEN_PARAMETER in query ? TOKEN_PARAMETER : undefined,
    async verify (parameter, request) {
      // Who can send another method can send a header, too; and a handler that changes something must not run twice.
      if (request.method !== 'GET' && request.method !== 'HEAD') throw new errors.FST_SSE_UNAUTHORIZED('a one-time token is for GET: send other credentials with other methods')
      const token = await tokens.find(request)
      found.set(request, token)
      return token.grant
    },
    release: (session, turn, log) => tokens.release(session, turn, log),
    async spend (request, reply, use) {
      const token = found.get(request)!
      // A session is there for a stream to go on; any other answer is given once.
      if (use === 'answer' && token.kind !== 'fresh') throw new errors.FST_SSE_BAD_TOKEN('spent')
      return tokens.redeem(token, reply, use)
    }
  }
}
