import type { FastifyInstance } from 'fastify'
import type { Test } from 'tap'
import { MemoryLog } from '../../../../plugin/topics/index.ts'
import { parseEventId } from '../../../../plugin/topics/ids/event-id.ts'
import type { EventId } from '../../../../plugin/topics/ids/event-id.ts'
import { listen } from '../../apps/app.ts'
import { buildTopicsApp } from '../../apps/topics-app.ts'
import { randomFrom } from '../../random.ts'
import { FORBIDDEN, ModelGate } from './gate.ts'
import { BAD, ModelTab } from './tab.ts'
import { ModelTopic } from './topic.ts'

// Tabs that share a connection, over a real server: they open with any cursor, close, crash, are suspended, and change
// their topics while events are published, trimmed and deleted, topics are closed, connections break, and the server is
// unavailable. Each tab must receive the events of each topic once and in order, or a gap for what it missed.

const MAX_TABS = 4
/** Few enough for events to be trimmed while tabs are away. */
const RETAINED = 8
/** When it has passed, a tab that has not received the last events is reported, instead of a test that never ends. */
const PATIENCE_MS = 60_000
/** Of an unavailable server. Most of them are temporary, because others end all tabs. */
const STATUSES = [503, 503, 429, 500, 403]

type Random = (limit: number) => number

/** The state of one schedule. */
class TabsSchedule {
  readonly #app: FastifyInstance
  readonly #url: string
  readonly #random: Random
  readonly #gate: ModelGate
  readonly #stallTimeoutMs: number
  readonly #topics = ['a', 'b', 'c'].map(name => new ModelTopic(name))
  readonly #tabs = new Set<ModelTab>()
  readonly #all: ModelTab[] = []
  readonly #journal: string[] = []

  constructor (app: FastifyInstance, origin: string, gate: ModelGate, random: Random) {
    this.#app = app
    this.#url = `${origin}/events`
    this.#gate = gate
    this.#random = random
    this.#stallTimeoutMs = random(3) === 0 ? 60 : 0
  }

  async step (): Promise<void> {
    const steps = [
      () => this.#open(), () => this.#open(), () => this.#open(), () => this.#leave(), () => this.#suspend(),
      () => this.#publish(), () => this.#publish(), () => this.#publish(), () => this.#publish(),
      () => this.#change(), () => this.#cut(), () => this.#delete(), () => this.#close(), () => this.#disturb(),
      () => this.#running(tab => tab.reconnect())
    ]
    await this.#oneOf(steps)()
    // The pace of the schedule, not a wait: from within the same turn to after a few round trips.
    if (this.#random(3) > 0) await new Promise(resolve => setTimeout(resolve, this.#random(8)))
    for (const tab of this.#tabs) if (tab.isOver) this.#tabs.delete(tab)
  }

  /** Publishes a last event to each topic; settles with the problems when each tab has the last event of its topics. */
  async end (): Promise<string[]> {
    this.#gate.status = undefined
    for (const tab of this.#tabs) if (tab.page.isSuspended) tab.suspendOrContinue()
    for (const topic of this.#topics) if (topic.isClosed) await this.#deleteTopic(topic)
    const deadline = performance.now() + PATIENCE_MS
    const areBehind = (): ModelTab[] => [...this.#tabs].filter(tab => tab.isBehind(this.#topics))
    do {
      for (const topic of this.#topics) await this.#append(topic)
      await new Promise(resolve => setTimeout(resolve, 20))
    } while (areBehind().length > 0 && !this.#hasProblems && performance.now() < deadline)
    if (!this.#hasProblems) for (const tab of areBehind()) tab.problems.push('it does not receive the last events')
    for (const tab of this.#tabs) tab.close()
    const problems = this.#all.flatMap(({ name, problems }) => problems.map(problem => `${name}: ${problem}`))
    return problems.length === 0 ? [] : [...problems, this.#journal.join('\n')]
  }

  get #hasProblems (): boolean { return this.#all.some(({ problems }) => problems.length > 0) }

  #open (): void {
    if (this.#tabs.size >= MAX_TABS) return this.#leave()
    const topics = this.#topics.filter(() => this.#random(2) === 0)
    if (topics.length === 0) topics.push(this.#oneOf(this.#topics))
    const hasCursor = this.#random(3) > 0
    if (this.#random(12) === 0) topics.push(new ModelTopic(FORBIDDEN))
    const tab = new ModelTab({
      name: `tab ${this.#all.length}`,
      url: this.#url,
      topics,
      starts: new Map(hasCursor ? topics.map(topic => [topic.name, this.#start(topic)]) : []),
      gate: this.#gate,
      journal: this.#journal,
      stallTimeoutMs: this.#stallTimeoutMs,
      fault: this.#oneOf(['parse', 'listener', undefined, undefined])
    })
    this.#tabs.add(tab)
    this.#all.push(tab)
  }

  /** A position that the topic has or had, or one from the future. */
  #start ({ published, last }: ModelTopic): EventId {
    if (this.#random(5) === 0) return { ms: last.ms + this.#random(3), n: last.n + 1 + this.#random(12) }
    return published.at(-1 - this.#random(12)) ?? last
  }

  #leave (): void {
    if (this.#tabs.size === 0) return
    const tab = this.#oneOf([...this.#tabs])
    this.#tabs.delete(tab)
    if (tab.page.isSuspended || this.#random(2) === 0) tab.crash()
    else tab.close()
  }

  #suspend (): void {
    if (this.#tabs.size > 0) this.#oneOf([...this.#tabs]).suspendOrContinue()
  }

  async #publish (): Promise<void> {
    for (let count = this.#random(4); count >= 0; count--) await this.#append(this.#oneOf(this.#topics))
  }

  async #append (topic: ModelTopic): Promise<void> {
    if (topic.isClosed) return
    const { ids } = await this.#app.topics.publish(topic.name, { data: this.#random(6) === 0 ? BAD : 'x' })
    this.#journal.push(`${ids[0]} is published to ${topic.name}`)
    topic.published.push(parseEventId(ids[0]!)!)
  }

  /** Runs this with a tab that is not suspended. */
  #running (act: (tab: ModelTab) => void): void {
    const tabs = [...this.#tabs].filter(({ page }) => !page.isSuspended)
    if (tabs.length > 0) act(this.#oneOf(tabs))
  }

  #change (): void {
    this.#running(tab => {
      const topic = this.#oneOf(this.#topics)
      if (!tab.topics.includes(topic.name)) tab.add(topic)
      else if (tab.topics.length > 1) tab.remove(topic.name)
    })
  }

  #cut (): void {
    this.#journal.push('all connections are cut')
    this.#app.server.closeAllConnections()
  }

  async #delete (): Promise<void> { await this.#deleteTopic(this.#oneOf(this.#topics)) }

  async #deleteTopic (topic: ModelTopic): Promise<void> {
    this.#journal.push(`${topic.name} is deleted`)
    await this.#app.topics.delete(topic.name)
    topic.isClosed = false
  }

  async #close (): Promise<void> {
    const topic = this.#oneOf(this.#topics)
    this.#journal.push(`${topic.name} is closed`)
    topic.isClosed = true
    topic.ends.add(topic.last.n)
    await this.#app.topics.close(topic.name)
  }

  /** The server becomes unavailable, or available again. */
  #disturb (): void {
    this.#gate.status = this.#gate.status === undefined ? this.#oneOf(STATUSES) : undefined
    this.#journal.push(`the server responds with ${this.#gate.status ?? 'streams'}`)
    if (this.#random(2) === 0) this.#cut()
  }

  #oneOf<T> (items: readonly T[]): T { return items[this.#random(items.length)]! }
}

/** Runs the schedule of a seed; returns what was wrong. */
export async function runTabsSchedule (t: Test, seed: number, steps = 40): Promise<string[]> {
  const random = randomFrom(seed)
  const app = await buildTopicsApp(t, {
    log: new MemoryLog({ retention: [{ topics: '*', maxEvents: RETAINED }] }),
    sse: { retryMs: 1, drainMs: 0 },
    subscribe: { afterGap: random(3) === 0 ? 'now' : 'earliest' }
  })
  const gate = new ModelGate(app)
  const schedule = new TabsSchedule(app, await listen(app), gate, random)
  for (let step = 0; step < steps; step++) await schedule.step()
  const problems = await schedule.end()
  await app.close()
  return problems
}
