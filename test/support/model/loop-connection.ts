import { deferred } from '../../../plugin/common/deferred.ts'
import type { Deferred } from '../../../plugin/common/deferred.ts'
import { formatCursor, topicTag } from '../../../plugin/topics/ids/cursor.ts'
import { ORIGIN } from '../../../plugin/topics/ids/event-id.ts'
import type { SubscriptionItem } from '../../../plugin/topics/index.ts'
import { endOf } from '../../../plugin/topics/ids/resume.ts'
import { createSubscription } from '../../../plugin/topics/subscription/subscription.ts'
import type { ModelConnection, Received } from './connection.ts'
import type { Instance } from './world.ts'

/** A client that reads with `for await` in the process of the log, and may stop taking items for a while. */
export class LoopConnection implements ModelConnection {
  isOpen = true
  isRefused = false
  failure: unknown
  /** The topics have ended, and all of them was read. */
  isFinished = false
  /** Settles when it is not open any more. */
  readonly over: Promise<void>
  readonly #abort = new AbortController()
  readonly #onEvent: (event: Received) => void
  #stopped: Deferred<void> | undefined

  constructor (instance: Instance, topics: string[], cursor: string | undefined, onEvent: (event: Received) => void) {
    this.#onEvent = onEvent
    this.over = this.#run(instance, topics, cursor).catch((error: unknown) => {
      // As with a stream: if the log is unavailable at the start, the next connection tries again.
      if ((error as { statusCode?: number }).statusCode !== 503) this.failure = error
    }).finally(() => { this.isOpen = false })
  }

  cut (): void {
    this.isOpen = false
    this.#abort.abort()
    this.go()
  }

  stop (): void { this.#stopped ??= deferred() }

  go (): void {
    this.#stopped?.settle()
    this.#stopped = undefined
  }

  async #run ({ hub, log }: Instance, topics: string[], given: string | undefined): Promise<void> {
    const sorted = [...topics].sort()
    const cursor = given ?? formatCursor(
      sorted.map(topicTag),
      await Promise.all(sorted.map(async topic => endOf((await log.locate(topic, ORIGIN)).ends)))
    )
    // The connection was cut meanwhile: its items would move the client, which now uses another connection.
    if (!this.isOpen) return
    if (given === undefined) this.#onEvent({ id: cursor, event: 'stream.open', data: '' })
    let count = 0
    let last = cursor
    const held: Received[] = []
    for await (const item of createSubscription({
      hub, topics: sorted, options: { after: cursor, signal: this.#abort.signal }
    })) {
      if (!this.isOpen) return
      count++
      held.push(receivedFrom(item))
      // Of several gaps only the last one moves the cursor: a client that leaves between them receives all of them
      // again.
      if (item.kind !== 'gap' || item.cursor !== last) for (const received of held.splice(0)) this.#onEvent(received)
      last = item.cursor
      await this.#stopped?.promise
    }
    this.isFinished = !this.#abort.signal.aborted
    this.isRefused = count === 0 && this.isFinished
  }
}

/** An item in the form in which a stream would have sent it. */
function receivedFrom ({ kind, cursor, ...detail }: SubscriptionItem): Received {
  if ('data' in detail) return { id: cursor, event: undefined, data: detail.data }
  return { id: cursor, event: `stream.${kind}`, data: JSON.stringify(detail) }
}
