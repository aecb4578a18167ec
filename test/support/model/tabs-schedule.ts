import type { FastifyInstance } from 'fastify'
import type { Test } from 'tap'
import { subscribe } from '../../../plugin/client/index.ts'
import type { GapDetail, Subscription } from '../../../plugin/client/index.ts'
import { MemoryLog } from '../../../plugin/topics/index.ts'
import { formatCursor, topicTag } from '../../../plugin/topics/ids/cursor.ts'
import { parseEventId } from '../../../plugin/topics/ids/event-id.ts'
import type { EventId } from '../../../plugin/topics/ids/event-id.ts'
import { listen } from '../apps/app.ts'
import { buildTopicsApp } from '../apps/topics-app.ts'
import { randomFrom } from '../random.ts'

// Tabs that share a connection, over a real server: they open with any cursor, close, and change their topics while
// events are published, trimmed and deleted and connections break. Each tab must receive the events of each topic once
// and in order, or a gap for what it missed.

const TOPICS = ['a', 'b', 'c']
const MAX_TABS = 4
/** Few enough for events to be trimmed while tabs are away. */
const RETAINED = 8
/** When it has passed, a tab that has not received the last events is reported, instead of a test that never ends. */
const PATIENCE_MS = 60_000

type Random = (limit: number) => number

/** What a tab has received of a topic. */
interface Progress {
  /** The number of the last event, or of the one after which the tab started; undefined if it started now. */
  last: number | undefined
  /** A gap was reported since then. */
  hasGap: boolean
}

/** A tab and the rules that it must keep. */
class ModelTab {
  readonly name: string
  readonly problems: string[] = []
  readonly subscription: Subscription
  readonly #journal: string[]
  readonly #progress = new Map<string, Progress>()

  constructor (
    name: string,
    url: string,
    topics: readonly string[],
    starts: ReadonlyMap<string, EventId>,
    journal: string[]
  ) {
    this.name = name
    this.#journal = journal
    for (const topic of topics) this.#progress.set(topic, { last: starts.get(topic)?.n, hasGap: false })
    const lastEventId = starts.size === 0 ? undefined : cursorOf(topics, starts)
    this.note(`opens with ${topics.join()} after ${lastEventId ?? 'now'}`)
    this.subscription = subscribe({
      url, topics, lastEventId, shareAcrossTabs: true, stallTimeoutMs: 0, backoff: { initialMs: 1, maxMs: 10 }
    })
    this.subscription.addEventListener('message', ({ topic, id }) => this.#take(topic ?? topics[0]!, id))
    this.subscription.addEventListener('gap', ({ detail }) => this.#skip(detail))
    this.subscription.addEventListener('error', ({ detail }) => {
      if (!detail.willRetry) this.problems.push(`ended: ${detail.message}`)
    })
  }

  note (what: string): void { this.#journal.push(`${this.name} ${what}`) }

  get topics (): readonly string[] { return this.subscription.topics }

  add (topic: string): void {
    this.note(`adds ${topic}`)
    this.#progress.set(topic, { last: undefined, hasGap: false })
    this.subscription.add(topic)
  }

  remove (topic: string): void {
    this.note(`removes ${topic}`)
    this.subscription.remove(topic)
    this.#progress.delete(topic)
  }

  /** True if the tab has received the event with this number. */
  has (topic: string, n: number): boolean { return this.#progress.get(topic)?.last === n }

  #take (topic: string, id: string): void {
    this.note(`receives ${topic} ${id}`)
    const progress = this.#progress.get(topic)
    if (progress === undefined) {
      this.problems.push(`an event of ${topic}, to which it does not subscribe`)
      return
    }
    const { last, hasGap } = progress
    const { n } = parseEventId(id)!
    if (last !== undefined && n !== last + 1 && !hasGap) this.problems.push(`${topic}: ${n} after ${last} without a gap`)
    Object.assign(progress, { last: n, hasGap: false })
  }

  #skip ({ topic, reason, after, resumedAt }: GapDetail): void {
    this.note(`has a gap in ${topic}: ${reason}, after ${after}, resumed at ${resumedAt}`)
    Object.assign(this.#progress.get(topic) ?? {}, { hasGap: true })
  }
}

function cursorOf (topics: readonly string[], starts: ReadonlyMap<string, EventId>): string {
  const sorted = [...topics].sort()
  return formatCursor(sorted.map(topicTag), sorted.map(topic => starts.get(topic)!))
}

/** The state of one schedule. */
class TabsSchedule {
  readonly #app: FastifyInstance
  readonly #url: string
  readonly #random: Random
  readonly #published = new Map<string, EventId[]>(TOPICS.map(topic => [topic, []]))
  readonly #tabs: ModelTab[] = []
  readonly #all: ModelTab[] = []
  readonly #journal: string[] = []

  constructor (app: FastifyInstance, origin: string, random: Random) {
    this.#app = app
    this.#url = `${origin}/events`
    this.#random = random
  }

  async step (): Promise<void> {
    const steps = [
      () => this.#open(), () => this.#open(), () => this.#close(), () => this.#publish(), () => this.#publish(),
      () => this.#publish(), () => this.#change(), () => this.#cut(), () => this.#delete(), () => this.#reconnect()
    ]
    await this.#oneOf(steps)()
    // The pace of the schedule, not a wait: from within the same turn to after a few round trips.
    if (this.#random(3) > 0) await new Promise(resolve => setTimeout(resolve, this.#random(8)))
  }

  /** Publishes a last event to each topic; settles with the problems when each tab has the last event of its topics. */
  async end (): Promise<string[]> {
    const isBehind = (tab: ModelTab): boolean =>
      tab.topics.some(topic => !tab.has(topic, this.#published.get(topic)!.at(-1)!.n))
    const deadline = performance.now() + PATIENCE_MS
    do {
      for (const topic of TOPICS) await this.#append(topic)
      await new Promise(resolve => setTimeout(resolve, 20))
    } while (this.#tabs.some(isBehind) && !this.#hasProblems && performance.now() < deadline)
    if (!this.#hasProblems) {
      for (const tab of this.#tabs) if (isBehind(tab)) tab.problems.push('it does not receive the last events')
    }
    for (const tab of this.#tabs) tab.subscription.close()
    const problems = this.#all.flatMap(({ name, problems }) => problems.map(problem => `${name}: ${problem}`))
    return problems.length === 0 ? [] : [...problems, this.#journal.join('\n')]
  }

  get #hasProblems (): boolean { return this.#all.some(({ problems }) => problems.length > 0) }

  #open (): void {
    if (this.#tabs.length >= MAX_TABS) return this.#close()
    const topics = TOPICS.filter(() => this.#random(2) === 0)
    if (topics.length === 0) topics.push(this.#oneOf(TOPICS))
    const hasCursor = this.#random(3) > 0
    const starts = new Map(hasCursor ? topics.map(topic => [topic, this.#start(topic)]) : [])
    const tab = new ModelTab(`tab ${this.#all.length}`, this.#url, topics, starts, this.#journal)
    this.#tabs.push(tab)
    this.#all.push(tab)
  }

  /** A position that the topic has or had, or one from the future. */
  #start (topic: string): EventId {
    const known = this.#published.get(topic)!
    const last = known.at(-1) ?? { ms: 0, n: 0 }
    if (this.#random(5) === 0) return { ms: last.ms + this.#random(3), n: last.n + 1 + this.#random(12) }
    return known.at(-1 - this.#random(12)) ?? last
  }

  #close (): void {
    const [tab] = this.#tabs.splice(this.#random(this.#tabs.length), 1)
    tab?.note('closes')
    tab?.subscription.close()
  }

  async #publish (): Promise<void> {
    for (let count = this.#random(4); count >= 0; count--) await this.#append(this.#oneOf(TOPICS))
  }

  async #append (topic: string): Promise<void> {
    const { ids } = await this.#app.topics.publish(topic, { data: 'x' })
    this.#journal.push(`${ids[0]} is published to ${topic}`)
    this.#published.get(topic)!.push(parseEventId(ids[0]!)!)
  }

  #change (): void {
    if (this.#tabs.length === 0) return
    const tab = this.#oneOf(this.#tabs)
    const topic = this.#oneOf(TOPICS)
    if (!tab.topics.includes(topic)) tab.add(topic)
    else if (tab.topics.length > 1) tab.remove(topic)
  }

  #cut (): void {
    this.#journal.push('all connections are cut')
    this.#app.server.closeAllConnections()
  }

  async #delete (): Promise<void> {
    const topic = this.#oneOf(TOPICS)
    this.#journal.push(`${topic} is deleted`)
    await this.#app.topics.delete(topic)
  }

  #reconnect (): void {
    if (this.#tabs.length === 0) return
    const tab = this.#oneOf(this.#tabs)
    tab.note('reconnects')
    tab.subscription.reconnect()
  }

  #oneOf<T> (items: readonly T[]): T { return items[this.#random(items.length)]! }
}

/** Runs the schedule of a seed; returns what was wrong. */
export async function runTabsSchedule (t: Test, seed: number, steps = 40): Promise<string[]> {
  const app = await buildTopicsApp(t, {
    log: new MemoryLog({ retention: [{ topics: '*', maxEvents: RETAINED }] }), sse: { retryMs: 1, drainMs: 0 }
  })
  const schedule = new TabsSchedule(app, await listen(app), randomFrom(seed))
  for (let step = 0; step < steps; step++) await schedule.step()
  const problems = await schedule.end()
  await app.close()
  return problems
}
