import type { FastifyInstance, FastifyRequest } from 'fastify'
import { addressOf } from './client-address.ts'
import { errors } from '../errors.ts'
import { MAX_STREAM_TOPICS } from '../../common/limits.ts'
import { show } from '../../common/show.ts'
import { isPattern, isSubject } from '../grants/grant-init.ts'
import type { Grant } from '../grants/grant.ts'
import type { OneTimeTokens } from './one-time-tokens.ts'
import { RateLimit } from './rate-limits.ts'

const TOPICS = `an array of 1 to ${MAX_STREAM_TOPICS} topics or patterns of topics`
const SUBJECT = 'a string of 1 to 256 characters'
const SESSION = 'the "session" that came with a token'

/**
 * The routes of the one-time tokens. They need a grant from another credential: a one-time token is valid for GET only,
 * so it cannot issue tokens.
 *
 * - `POST /events/auth` `{ topics? }` → 200 `{ token, expiresIn, session }`, which no cache may store;
 * - `POST /events/revoke` `{ subject }` or `{ session }` → 204, for grants with `revoke`.
 */
export function addTokenRoutes (app: FastifyInstance, tokens: OneTimeTokens): void {
  const { path, revokePath } = tokens.options
  const countIssue = issueCounter(tokens)

  app.post(path, { grant: true }, async (request, reply) => {
    const grant = request.grant!
    const topics = readTopics(request.body)
    await countIssue(request, grant)
    reply.header('cache-control', 'no-store')
    return tokens.issue(grant, { topics, origin: request.headers.origin })
  })

  app.post(revokePath, { grant: true }, async (request, reply) => {
    const { revoke } = request.grant!
    const { subject, session } = readRevocation(request.body)
    if (!revoke) throw new errors.FST_SSE_FORBIDDEN('revoke', subject ?? session)
    if (subject !== undefined) await tokens.store.revokeSubject(subject, tokens.options.revocationMs)
    if (session !== undefined) await tokens.store.revokeSession(session)
    return reply.code(204).send()
  })
}

function issueCounter ({ counter, options }: OneTimeTokens): (request: FastifyRequest, grant: Grant) => Promise<void> {
  const common = { what: 'one-time tokens', windowMs: options.limitWindowMs }
  const perSubject = new RateLimit(counter, { ...common, per: 'subject', max: options.maxPerSubject })
  const perAddress = new RateLimit(counter, { ...common, per: 'address', max: options.maxPerAddress })
  return async (request, { subject }) => {
    await perSubject.count(request, subject)
    await perAddress.count(request, addressOf(request.ip))
  }
}

/**
 * Undefined if the body names none. An unknown field is rejected: it might be misspelt, and the token would then allow
 * more than intended.
 */
function readTopics (body: unknown): string[] | undefined {
  const { topics } = readFields(body, ['topics'])
  if (topics === undefined) return undefined
  const isGood =
    Array.isArray(topics) && topics.length > 0 && topics.length <= MAX_STREAM_TOPICS && topics.every(isPattern)
  if (!isGood) throw new errors.FST_SSE_BAD_BODY('field "topics"', TOPICS, show(topics))
  return topics
}

function readRevocation (body: unknown): { subject?: string | undefined, session?: string | undefined } {
  const { subject, session } = readFields(body, ['subject', 'session'])
  if (subject !== undefined && !isSubject(subject)) {
    throw new errors.FST_SSE_BAD_BODY('field "subject"', SUBJECT, show(subject))
  }
  if (session !== undefined && !(typeof session === 'string' && /^[\w-]{43}$/.test(session))) {
    throw new errors.FST_SSE_BAD_BODY('field "session"', SESSION, show(session))
  }
  if ((subject === undefined) === (session === undefined)) {
    throw new errors.FST_SSE_BAD_BODY('body', 'an object with either "subject" or "session"', show(body))
  }
  return { subject, session }
}

function readFields (body: unknown, names: readonly string[]): Record<string, unknown> {
  if (body === undefined) return {}
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw new errors.FST_SSE_BAD_BODY('body', 'a JSON object', show(body))
  }
  const unknown = Object.keys(body).find(name => !names.includes(name))
  if (unknown !== undefined) throw new errors.FST_SSE_BAD_BODY('field', `one of ${names.join(', ')}`, show(unknown))
  return body as Record<string, unknown>
}
