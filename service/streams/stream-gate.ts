import type { FastifyRequest } from 'fastify'
import type { SourceRun, SseStream } from 'fastify-resumable-sse'
import { topicsErrors } from 'fastify-resumable-sse/topics'
import type { TopicSource } from 'fastify-resumable-sse/topics'
import type { Drain } from './drain.ts'
import { errors } from '../errors.ts'
import type { OpenStreams } from './open-streams.ts'
import type { StreamLimits } from './stream-limits.ts'

export interface StreamGateInit {
  limits: StreamLimits
  streams: OpenStreams
  drain: Drain
  maxTopicsPerStream: number
}

/**
 * Where a stream is admitted or rejected. A place is taken before the log is queried or a token is spent, and released
 * when the stream is over, for whatever reason; a stream that never starts (HEAD, a client that has disconnected) takes
 * none.
 */
export class StreamGate {
  readonly #init: StreamGateInit

  constructor (init: StreamGateInit) {
    this.#init = init
  }

  /**
   * The same source behind the gate. Throws 400 `TOPICS_BAD_TOPIC_COUNT`; temporary errors (429, 503) are thrown by
   * `open`.
   */
  guard (request: FastifyRequest, source: TopicSource): TopicSource {
    const { maxTopicsPerStream, streams } = this.#init
    const { topics } = source
    if (topics.length > maxTopicsPerStream) {
      throw this.#reject(new topicsErrors.TOPICS_BAD_TOPIC_COUNT(maxTopicsPerStream, topics.length))
    }
    return {
      topics,
      open: async stream => {
        const run = await this.#open(request, source, stream)
        return run && (() => {
          streams.add(stream, subjectOf(request))
          return run()
        })
      }
    }
  }

  async #open (request: FastifyRequest, source: TopicSource, stream: SseStream): Promise<SourceRun | undefined> {
    const { drain, limits } = this.#init
    try {
      if (drain.isDraining) throw new errors.SERVICE_DRAINING()
      const giveBack = limits.take({ address: request.ip, subject: subjectOf(request), stream, topics: source.topics })
      void stream.closed.then(giveBack)
      return await source.open(stream)
    } catch (error) {
      throw this.#reject(error)
    }
  }

  #reject (error: unknown): unknown {
    this.#init.streams.reject((error as { code?: string }).code ?? 'none')
    return error
  }
}

/** The authenticated subject; undefined without authentication. */
export function subjectOf (request: FastifyRequest): string | undefined {
  return (request as { grant?: { subject: string } | null }).grant?.subject
}
