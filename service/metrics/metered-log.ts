import { Counter, Histogram } from 'prom-client'
import type { Registry } from 'prom-client'
import type {
  EventId,
  Appended,
  AppendOptions,
  DeleteOptions,
  LeaseReply,
  LeaseRequest,
  LogEntry,
  LogHealth,
  Location,
  LogLogger,
  NewEvent,
  PageLimit,
  SeekStart,
  TopicEnds,
  TopicListener,
  TopicLog
} from 'fastify-resumable-sse/topics'
import { AppendProblem } from './append-problem.ts'
import { describe } from './live-metrics.ts'
import { SeeingListener } from './seeing-listener.ts'
import { SeenTopics } from './seen-topics.ts'

const CALLS = ['append', 'read', 'locate', 'seek', 'follow', 'close', 'lease', 'delete'] as const
type Call = (typeof CALLS)[number]
interface Observer { observe: (value: number) => void }
const BUCKETS_S = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5]

/** A log that counts and times all calls, remembers the topics they were about, and forwards them to another log. */
export class MeteredLog implements TopicLog {
  readonly seen = new SeenTopics()
  readonly problem = new AppendProblem()
  /** The wrapped listener that the log calls, by the original listener. */
  readonly #listeners = new Map<TopicListener, SeeingListener>()
  readonly #log: TopicLog
  /** One histogram for each call: finding it by its labels takes longer than counting. */
  readonly #seconds: ReadonlyMap<Call, Observer>
  readonly #failures: Counter<'call'>
  readonly #published: Counter

  constructor (log: TopicLog, registry: Registry) {
    this.#log = log
    const seconds = new Histogram({
      ...describe(registry, 'log_call_seconds', 'Duration of calls to the log'),
      labelNames: ['call'],
      buckets: BUCKETS_S
    })
    this.#seconds = new Map(CALLS.map(call => [call, seconds.labels({ call })]))
    this.#failures = new Counter({
      ...describe(registry, 'log_failures_total', 'Calls to the log that failed'),
      labelNames: ['call']
    })
    this.#published = new Counter(
      describe(registry, 'events_published_total', 'Events that the log has acknowledged to this process')
    )
    for (const call of CALLS) {
      seconds.zero({ call })
      this.#failures.inc({ call }, 0)
    }
  }

  get health (): LogHealth | undefined { return this.#log.health }

  start (logger: LogLogger): Promise<void> { return this.#log.start(logger) }
  stop (): Promise<void> { return this.#log.stop() }

  async append (topic: string, events: readonly NewEvent[], options?: AppendOptions): Promise<Appended> {
    const appending = this.#log.append(topic, events, options)
    appending.then(() => this.problem.succeed(), (error: Error) => this.problem.fail(error))
    const appended = await this.#timed('append', appending)
    const { ids, isRepeat } = appended
    if (isRepeat) return appended
    this.#published.inc(ids.length)
    this.seen.see(topic, ids.at(-1)!)
    return appended
  }

  read (topic: string, after: EventId, limit: PageLimit): Promise<LogEntry[]> {
    return this.#timed('read', this.#log.read(topic, after, limit))
  }

  locate (topic: string, id: EventId): Promise<Location> {
    return this.#timed('locate', this.#log.locate(topic, id))
  }

  seek (topic: string, start: SeekStart): Promise<EventId> {
    return this.#timed('seek', this.#log.seek(topic, start))
  }

  close (topic: string): Promise<void> {
    return this.#timed('close', this.#log.close(topic))
  }

  lease (topic: string, request: LeaseRequest): Promise<LeaseReply> {
    return this.#timed('lease', this.#log.lease(topic, request))
  }

  async delete (topic: string, options?: DeleteOptions): Promise<boolean> {
    const isDeleted = await this.#timed('delete', this.#log.delete(topic, options))
    if (isDeleted) this.seen.forget(topic)
    return isDeleted
  }

  async follow (topic: string, listener: TopicListener): Promise<TopicEnds> {
    const seeing = new SeeingListener(topic, listener, this.seen)
    this.#listeners.set(listener, seeing)
    try {
      const ends = await this.#timed('follow', this.#log.follow(topic, seeing))
      this.seen.see(topic, ends.last)
      return ends
    } catch (error) {
      this.#listeners.delete(listener)
      throw error
    }
  }

  unfollow (topic: string, listener: TopicListener): Promise<void> {
    const seeing = this.#listeners.get(listener) ?? listener
    this.#listeners.delete(listener)
    return this.#log.unfollow(topic, seeing)
  }

  async #timed<T> (call: Call, work: Promise<T>): Promise<T> {
    const begunAtMs = performance.now()
    work.catch((error: { statusCode?: number }) => { if (!isRejection(error)) this.#failures.inc({ call }) })
    try {
      return await work
    } finally {
      this.#seconds.get(call)!.observe((performance.now() - begunAtMs) / 1e3)
    }
  }
}

/** True for an error of the caller, such as a publish to a closed topic: the log itself works. */
const isRejection = ({ statusCode = 500 }: { statusCode?: number }): boolean => statusCode < 500
