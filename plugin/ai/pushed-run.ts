import { deferred } from '../common/deferred.ts'
import type { Deferred } from '../common/deferred.ts'
import type { ProduceOptions, Producer, ProductionEnd, Topics } from '../topics/index.ts'
import { topicsErrors } from '../topics/index.ts'

/** A producer whose events are pushed one after another, and which reports when the log has stored them. */
export class PushedRun {
  readonly topic: string
  /** Settles when nothing can be appended any more. Never rejects. */
  over: Promise<void> = Promise.resolve()
  #producer!: Producer
  #queue: string[] = []
  #given = 0
  #isOver = false
  #failure: Error | undefined
  #wake: Deferred<void> | undefined
  readonly #waiting: { count: number, resolve: () => void, reject: (error: Error) => void }[] = []

  private constructor (topic: string) {
    this.topic = topic
  }

  /** Rejects as `app.topics.produce()` does. */
  static async start (topics: Topics, topic: string, options: ProduceOptions): Promise<PushedRun> {
    const run = new PushedRun(topic)
    run.#producer = await topics.produce(topic, ({ signal }) => run.#items(signal), {
      batchMs: 0,
      ...options,
      onAppend: accepted => run.#stored(accepted),
      // It fails only through `close(error)`.
      describeError: error => (error as Error).message
    })
    run.over = run.#producer.done.then(() => run.#end())
    return run
  }

  /** Identifies the producer. */
  get lease (): number { return this.#producer.lease }

  /**
   * Settles when the log has stored the events, with the number of events of this run before them. Rejects with
   * `TOPICS_CLOSED` if the log does not accept them: the topic was closed, or belongs to another producer.
   */
  async append (data: readonly string[]): Promise<number> {
    if (this.#isOver) throw new topicsErrors.TOPICS_CLOSED(this.topic)
    const before = this.#given
    // Not spread into one call: a long list would overflow the stack.
    for (const each of data) this.#queue.push(each)
    this.#given += data.length
    this.#wake?.settle()
    if (data.length > 0) await this.#untilStored(this.#given)
    return before
  }

  /** Closes the topic as `done`, or as `failed` with the message of `error`. Settles with how it was closed. */
  close (error?: Error): Promise<ProductionEnd> {
    this.#isOver = true
    this.#failure ??= error
    this.#wake?.settle()
    return this.#producer.done
  }

  async * #items (signal: AbortSignal): AsyncGenerator<{ data: string }> {
    signal.addEventListener('abort', () => this.#wake?.settle(), { once: true })
    while (!signal.aborted) {
      if (this.#queue.length > 0) yield * this.#take(signal)
      else if (this.#failure) throw this.#failure
      else if (this.#isOver) return
      else await (this.#wake = deferred()).promise
    }
  }

  /** Takes all waiting items at once: shifting a long array moves the remaining items each time. */
  * #take (signal: AbortSignal): Generator<{ data: string }> {
    const taken = this.#queue
    this.#queue = []
    for (const data of taken) {
      if (signal.aborted) return
      yield { data }
    }
  }

  #untilStored (count: number): Promise<void> {
    return new Promise((resolve, reject) => { this.#waiting.push({ count, resolve, reject }) })
  }

  #stored (accepted: number): void {
    while (this.#waiting[0] && this.#waiting[0].count <= accepted) this.#waiting.shift()!.resolve()
  }

  #end (): void {
    this.#isOver = true
    for (const { reject } of this.#waiting.splice(0)) reject(new topicsErrors.TOPICS_CLOSED(this.topic))
  }
}
