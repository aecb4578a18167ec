import type { FastifyRequest } from 'fastify'
import type { SourceRun, SseStream } from 'fastify-resumable-sse'
import { topicsErrors } from 'fastify-resumable-sse/topics'
import type { TopicSource } from 'fastify-resumable-sse/topics'
import type { Drain } from './drain.ts'
import { errors } from '../errors.ts'
import type { StreamLimits } from './stream-limits.ts'

export interface StreamGateInit {
  limits: StreamLimits
  drain: Drain
  maxTopicsPerStream: number
}

/**
 * Admits or rejects streams. A place is taken before the log is queried or a token is spent, and released when the
 * stream closes, for whatever reason; a stream that never starts (HEAD, a client that has disconnected) takes none.
 */
export class StreamGate {
  readonly #init: StreamGateInit
  readonly #rejected = new Map<string, number>()

  constructor (init: StreamGateInit) {
    this.#init = init
  }

  /** The number of rejected streams by error code. */
  get rejected (): ReadonlyMap<string, number> { return this.#rejected }

  /**
   * Wraps a source so that it passes the gate. Throws 400 `TOPICS_BAD_TOPIC_COUNT`; temporary errors (429, 503) are
   * thrown by `open`.
   */
  guard (request: FastifyRequest, source: TopicSource): TopicSource {
    const { maxTopicsPerStream } = this.#init
    const { topics } = source
    if (topics.length > maxTopicsPerStream) {
      throw this.#reject(new topicsErrors.TOPICS_BAD_TOPIC_COUNT(maxTopicsPerStream, topics.length))
    }
    return { topics, control: source.control, open: stream => this.#open(request, source, stream) }
  }

  async #open (request: FastifyRequest, source: TopicSource, stream: SseStream): Promise<SourceRun | undefined> {
    const { drain, limits } = this.#init
    // Called first, because a rejection by this gate must suit a client of another protocol, too.
    if (source.control === 'none') stream.omitControl()
    try {
      if (drain.isDraining) throw new errors.SERVICE_DRAINING()
      limits.take(stream, request.ip)
      return await source.open(stream)
    } catch (error) {
      throw this.#reject(error)
    }
  }

  #reject (error: unknown): unknown {
    const { code = 'none' } = error as { code?: string }
    this.#rejected.set(code, (this.#rejected.get(code) ?? 0) + 1)
    return error
  }
}
