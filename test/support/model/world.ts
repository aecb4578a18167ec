import { formatEventId, ORIGIN } from '../../../plugin/topics/ids/event-id.ts'
import { Hub } from '../../../plugin/topics/feed/hub.ts'
import { retryUntilAvailable } from '../../../plugin/topics/retry.ts'
import { createSubscription } from '../../../plugin/topics/subscription/subscription.ts'
import type { SubscribeOptions } from '../../../plugin/topics/subscription/subscribe-options.ts'
import type { TopicEnds, TopicLog } from '../../../plugin/topics/log/topic-log.ts'
import { Connection } from './connection.ts'
import type { ModelConnection, Received } from './connection.ts'
import { Journal } from './journal.ts'
import { LoopConnection } from './loop-connection.ts'
import { PageConnection } from './page-connection.ts'
import type { Random } from './random.ts'

export const TOPICS = ['a', 'b', 'c']

/** One process: a log and what its readers share. */
export interface Instance { log: TopicLog, hub: Hub }

/** How a client reads: a stream of the plugin, `for await` over a subscription, or pages. */
export type ClientKind = 'stream' | 'loop' | 'pages'

export class ModelClient {
  readonly topics: string[]
  readonly journal: Journal
  connection: ModelConnection | undefined
  isFinished = false
  /** Number of events received so far, without in-band events. */
  received = 0

  readonly #kind: ClientKind
  readonly #options: SubscribeOptions

  constructor (kind: ClientKind, topics: string[], options: SubscribeOptions = {}) {
    this.#kind = kind
    this.topics = topics
    this.#options = options
    this.journal = new Journal(topics)
  }

  connect (instance: Instance): void {
    if (this.isFinished || this.connection?.isOpen) return
    const connection: ModelConnection = this.#open(instance, event => {
      if (this.connection !== connection) return
      if (event.event === undefined) this.received++
      this.journal.receive(event)
    })
    this.connection = connection
  }

  #open (instance: Instance, onEvent: (event: Received) => void): ModelConnection {
    const { cursor } = this.journal
    if (this.#kind === 'loop') return new LoopConnection(instance, this.topics, cursor, onEvent)
    if (this.#kind === 'pages') {
      return new PageConnection(instance, this.topics[0]!, cursor, 1 + this.received % 5, onEvent)
    }
    const subscription = createSubscription({ hub: instance.hub, topics: this.topics, options: this.#options })
    return new Connection(subscription, cursor, onEvent)
  }

  disconnect (): void {
    this.connection?.cut()
    this.connection = undefined
  }
}

/** Publishers, clients and the expected state; driven by the schedule. */
export class World {
  readonly random: Random
  instances: Instance[] = []
  readonly clients: ModelClient[] = []
  readonly truth = new Map<string, Map<string, string>>()
  /** Publishes with an unknown outcome; they are repeated with their key. */
  #open: { topic: string, data: string[], key: string }[] = []
  #running: Promise<void>[] = []
  #published = 0
  readonly #scope: string
  readonly #kinds: readonly ClientKind[]

  constructor (random: Random, kinds: readonly ClientKind[] = ['stream', 'stream', 'loop', 'pages']) {
    this.random = random
    this.#kinds = kinds
    this.#scope = `${random.integer(0, 2 ** 31)}`
  }

  addInstance (log: TopicLog, maxTailBytes = 300): Instance {
    const hub = new Hub(log, { maxTailBytes, onTrouble: () => {} })
    const instance = { log, hub }
    this.instances.push(instance)
    return instance
  }

  /** Number of events that all clients have received so far. */
  get received (): number { return this.clients.reduce((sum, { received }) => sum + received, 0) }

  addClient (options?: SubscribeOptions): ModelClient {
    const kind = this.random.pick(this.#kinds)
    const topics = kind === 'pages' ? [this.random.pick(TOPICS)] : this.random.some(TOPICS)
    const client = new ModelClient(kind, topics, options)
    this.clients.push(client)
    return client
  }

  /** Starts something that runs in parallel with the schedule. */
  begin (work: Promise<void>): void {
    this.#running.push(work)
  }

  /** Waits for everything that runs in parallel with the schedule. */
  async rest (): Promise<void> {
    await Promise.all(this.#running.splice(0))
  }

  async publish (topic: string, count: number): Promise<void> {
    const data = Array.from({ length: count }, () => `${topic} ${++this.#published}`)
    await this.#append({ topic, data, key: `${this.#scope}-${this.#published}` })
  }

  /** Repeats one publish with an unknown outcome. */
  async retry (): Promise<void> {
    const publish = this.#open.shift()
    if (publish) await this.#append(publish)
  }

  async settlePublishes (): Promise<void> {
    while (this.#open.length > 0) await this.retry()
  }

  /** Retried if the log does not answer in time: the machine is busy, and there are no faults any more. */
  async ends (): Promise<Map<string, TopicEnds>> {
    const { log } = this.instances[0]!
    const located = await Promise.all(
      TOPICS.map(topic => retryUntilAvailable(() => log.locate(topic, ORIGIN), () => false, () => {}))
    )
    return new Map(TOPICS.map((topic, at) => [topic, located[at]!.ends]))
  }

  /** Connects all clients and waits until each has reached the end of its topics; returns all violations. */
  async settle (): Promise<string[]> {
    const ends = await this.arrive()
    const failures = this.clients.flatMap(client => client.connection?.failure
      ? [
          String(client.connection.failure)
        ]
      : [])
    return [...failures, ...this.clients.flatMap((client, at) => client.journal
      .check(ends, this.truth)
      .map(problem => `client ${at} ${problem}`))]
  }

  /** Connects all clients and waits until each has reached the end of its topics, if it ever does. */
  async arrive (): Promise<Map<string, TopicEnds>> {
    await this.settlePublishes()
    for (const topic of TOPICS) await this.publishAnyway(topic)
    for (const client of this.clients) {
      client.connection?.go()
      // A topic that was closed may be open again by now.
      if (client.connection?.isRefused) client.disconnect()
    }
    const ends = await this.ends()
    for (let round = 0; round < MAX_ROUNDS && !this.clients.every(client => hasArrived(client, ends)); round++) {
      for (const client of this.clients) client.connect(this.random.pick(this.instances))
      await pause(round)
    }
    return ends
  }

  async stop (): Promise<void> {
    for (const client of this.clients) client.disconnect()
    await pause(0)
    for (const { log } of this.instances) await log.stop()
  }

  /** Publishes a last event, so that every client has an end to reach; a closed topic already has one. */
  async publishAnyway (topic: string): Promise<void> {
    const { isClosed } = (await this.ends()).get(topic)!
    if (isClosed) return
    await this.publish(topic, 1)
    await this.settlePublishes()
  }

  async #append (publish: { topic: string, data: string[], key: string }): Promise<void> {
    const { topic, data, key } = publish
    try {
      const { ids } = await this.random.pick(this.instances).log.append(
        topic,
        data.map(text => ({ data: text, event: undefined, retry: undefined })),
        { idempotencyKey: key }
      )
      const known = this.truth.get(topic) ?? new Map<string, string>()
      this.truth.set(topic, known)
      ids.forEach((id, at) => known.set(formatEventId(id), data[at]!))
    } catch (error) {
      const { code } = error as { code?: string }
      if (code === 'TOPICS_LOG_UNAVAILABLE') this.#open.push(publish)
      else if (code !== 'TOPICS_CLOSED') throw error
    }
  }
}

const MAX_ROUNDS = 2_000

function hasArrived (client: ModelClient, ends: ReadonlyMap<string, TopicEnds>): boolean {
  if (client.connection?.isRefused) client.isFinished = true
  return client.isFinished || client.topics.every(topic => {
    const { last } = ends.get(topic)!
    const at = client.journal.lastOf(topic)
    return at?.n === last.n && (last.n === 0 || at.ms === last.ms)
  })
}

/** Waits for a tick of the event loop; for a few ms in later rounds. */
export function pause (round: number): Promise<void> {
  return new Promise(resolve => { if (round < 50) setImmediate(resolve); else setTimeout(resolve, 2) })
}
