import type { FastifyBaseLogger, FastifyReply, FastifyRequest } from 'fastify'
import { errors } from '../reply/errors.ts'
import type { Grant, GrantInit, GrantSource } from './grant.ts'

/**
 * Where a grant may come from. Of the sources of an app the first one counts that a request presents something for; when
 * that is bad the request is refused, and no other source is asked.
 */
export interface Source {
  readonly kind: GrantSource
  /**
   * Who may have sent it. `client`: somebody who knows it and put it there. `browser`: a browser sends it by itself, also
   * for pages of others. `script`: it stands in the URL, and only scripts may open that.
   */
  readonly sender: 'client' | 'browser' | 'script'
  /** What the request presents; undefined when nothing. Throws 401 when it is there twice. */
  read: (request: FastifyRequest) => string | undefined
  /** What it grants; null when it is bad. Throws 401 with what to do, or 503 when it cannot be told now. Spends nothing. */
  verify: (credential: string, request: FastifyRequest) => Promise<GrantInit | Grant | null>
  /** True when the application is to be asked again while a stream is open. */
  readonly isAskedAgain: boolean
  /** True when the credential vouches for itself: nobody is asked who would know that its subject is gone. */
  readonly isSelfContained: boolean
  /**
   * Spends what can be used once; gives the turn of the stream it is for, see `RedeemedToken`. Throws 401 when somebody was
   * first, and for another answer than a stream also when it is not the first use.
   */
  spend?: (request: FastifyRequest, reply: FastifyReply, use: 'stream' | 'answer') => Promise<number>
  /** A stream is over that had its turn in this session. */
  release?: (session: string, turn: number, log: FastifyBaseLogger) => void
}

/**
 * The value of a header, undefined when it is absent. Throws 401 when there are two: which of them counts would be decided
 * by whatever stands between, and Node drops or joins the second one.
 */
export function readOnce (request: FastifyRequest, header: string): string | undefined {
  const { headers, rawHeaders } = request.raw
  let count = 0
  for (let at = 0; at < rawHeaders.length; at += 2) if (rawHeaders[at]!.toLowerCase() === header) count++
  if (count > 1) throw new errors.FST_SSE_UNAUTHORIZED(`the header ${header} was sent twice: send it once`)
  const value = headers[header]
  return typeof value === 'string' ? value : undefined
}
