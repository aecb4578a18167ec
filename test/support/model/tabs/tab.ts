import { fetchTransport, subscribe } from '../../../../plugin/client/index.ts'
import type { EndDetail, ErrorDetail, GapDetail, Subscription } from '../../../../plugin/client/index.ts'
import { formatCursor, topicTag } from '../../../../plugin/topics/ids/cursor.ts'
import { parseEventId } from '../../../../plugin/topics/ids/event-id.ts'
import type { EventId } from '../../../../plugin/topics/ids/event-id.ts'
import { Page } from '../../browser/pages.ts'
import { FORBIDDEN } from './gate.ts'
import type { ModelGate } from './gate.ts'
import type { ModelTopic } from './topic.ts'

/** The data of events for which `parse` and the listeners of some tabs throw. */
export const BAD = 'bad'
/** What they throw. */
export const FAULT = 'a listener failed'

/** What a tab has received of a topic. */
interface Progress {
  readonly topic: ModelTopic
  /** The number of the last event, or of the one after which the tab started; undefined if it started now. */
  last: number | undefined
  /** The highest number that it must not receive any more. */
  highest: number
  /** A gap was reported since the last event. */
  hasGap: boolean
  /** The end was reported since then. */
  hasEnded: boolean
}

export interface ModelTabOptions {
  readonly name: string
  readonly url: string
  readonly topics: readonly ModelTopic[]
  /** The positions of all topics; empty to start now. */
  readonly starts: ReadonlyMap<string, EventId>
  readonly gate: ModelGate
  readonly journal: string[]
  readonly stallTimeoutMs: number
  /** What cannot process bad events. */
  readonly fault: 'parse' | 'listener' | undefined
}

/** A tab and the rules that it must keep. */
export class ModelTab {
  readonly page = new Page()
  readonly problems: string[] = []
  readonly #options: ModelTabOptions
  readonly #subscription: Subscription
  readonly #progress = new Map<string, Progress>()
  #isClosing = false
  /** It has ended by itself. */
  isOver = false

  constructor (options: ModelTabOptions) {
    this.#options = options
    const { url, starts, stallTimeoutMs, fault } = options
    const topics = options.topics.map(({ name }) => name)
    for (const topic of options.topics) this.#start(topic, starts.get(topic.name)?.n)
    const lastEventId = starts.size === 0 ? undefined : cursorOf(topics, starts)
    this.note(`opens with ${topics.join()} after ${lastEventId ?? 'now'}`)
    this.#subscription = this.page.run(() => subscribe({
      url,
      topics,
      lastEventId,
      shareAcrossTabs: true,
      stallTimeoutMs,
      backoff: { initialMs: 1, maxMs: 10 },
      transport: fetchTransport(this.page.fetch),
      parse: text => fault === 'parse' ? failForBad(text) : text
    }))
    this.#listen(topics[0]!)
  }

  #listen (only: string): void {
    const { fault } = this.#options
    this.#subscription.addEventListener('message', ({ topic, id, data }) => {
      this.#take(topic ?? only, id)
      if (fault === 'listener') failForBad(data)
    })
    this.#subscription.addEventListener('gap', ({ detail }) => this.#skip(detail))
    this.#subscription.addEventListener('end', ({ detail }) => this.#end(detail))
    this.#subscription.addEventListener('error', ({ detail }) => this.#fail(detail, only))
    this.#subscription.addEventListener('state', ({ detail: { state } }) => { if (state === 'closed') this.#finish() })
  }

  get name (): string { return this.#options.name }
  get topics (): readonly string[] { return this.#subscription.topics }
  get isForbidden (): boolean { return this.topics.includes(FORBIDDEN) }

  note (what: string): void { this.#options.journal.push(`${this.name} ${what}`) }

  add (topic: ModelTopic): void {
    this.note(`adds ${topic.name}`)
    this.#start(topic, undefined)
    this.page.run(() => this.#subscription.add(topic.name))
  }

  remove (topic: string): void {
    this.note(`removes ${topic}`)
    this.page.run(() => this.#subscription.remove(topic))
    this.#progress.delete(topic)
  }

  reconnect (): void {
    this.note('reconnects')
    this.page.run(() => this.#subscription.reconnect())
  }

  close (): void {
    this.note('closes')
    this.#isClosing = true
    this.page.run(() => this.#subscription.close())
  }

  crash (): void {
    this.note('crashes')
    this.#isClosing = true
    this.page.crash()
    // Frees its timers; the other pages do not notice.
    this.page.run(() => this.#subscription.close())
  }

  suspendOrContinue (): void {
    const { page } = this
    this.note(page.isSuspended ? 'continues' : 'is suspended')
    if (page.isSuspended) page.continue()
    else page.suspend()
  }

  /** True if it has not received the last events, or should have ended and has not. */
  isBehind (topics: readonly ModelTopic[]): boolean {
    if (this.isOver || this.isForbidden) return !this.isOver
    return topics.some(({ name, last: { n } }) => (this.#progress.get(name)?.last ?? n) !== n)
  }

  /** A tab that starts now must not receive what another tab has already received. */
  #start (topic: ModelTopic, last: number | undefined): void {
    const highest = last === undefined ? topic.received : 0
    this.#progress.set(topic.name, { topic, last, highest, hasGap: false, hasEnded: false })
  }

  #take (name: string, id: string): void {
    this.note(`receives ${name} ${id}`)
    const progress = this.#progress.get(name)
    if (progress === undefined) {
      this.problems.push(`an event of ${name}, to which it does not subscribe`)
      return
    }
    const { topic, last, highest, hasGap } = progress
    const { n } = parseEventId(id)!
    if (last !== undefined && n !== last + 1 && !hasGap) this.problems.push(`${name}: ${n} after ${last} without a gap`)
    if (n <= highest) this.problems.push(`${name}: ${n} again, or from before its start`)
    Object.assign(progress, { last: n, highest: n, hasGap: false, hasEnded: false })
    topic.received = Math.max(topic.received, n)
  }

  #skip ({ topic, reason, after, resumedAt }: GapDetail): void {
    this.note(`has a gap in ${topic}: ${reason}, after ${after}, resumed at ${resumedAt}`)
    Object.assign(this.#progress.get(topic) ?? {}, { hasGap: true, hasEnded: false })
  }

  /** Without a topic it is the end of all. */
  #end ({ topic: name }: EndDetail): void {
    this.note(`reads the end of ${name ?? 'all topics'}`)
    for (const progress of name === undefined ? this.#progress.values() : [this.#progress.get(name)!]) {
      const { topic, last, hasGap } = progress
      const isAtEnd = last === undefined ? topic.ends.size > 0 : hasGap || topic.ends.has(last)
      if (!isAtEnd) this.problems.push(`${topic.name}: ended after ${last}`)
      progress.hasEnded = true
    }
  }

  #fail ({ message, willRetry, topic, id }: ErrorDetail, only: string): void {
    if (id !== undefined) return this.#take(topic ?? only, id)
    this.note(`has an error: ${message}`)
    if (willRetry) return
    this.isOver = true
    if (!this.#options.gate.hasRejected && !this.isForbidden) this.problems.push(`failed: ${message}`)
  }

  #finish (): void {
    if (this.#isClosing || this.isOver) return
    this.note('ends')
    this.isOver = true
    for (const { topic: { name }, hasEnded } of this.#progress.values()) {
      if (!hasEnded) this.problems.push(`ended before the end of ${name}`)
    }
  }
}

function failForBad (text: string): string {
  if (text === BAD) throw new Error(FAULT)
  return text
}

function cursorOf (topics: readonly string[], starts: ReadonlyMap<string, EventId>): string {
  const sorted = [...topics].sort()
  return formatCursor(sorted.map(topicTag), sorted.map(topic => starts.get(topic)!))
}
