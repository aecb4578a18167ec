import { deferred } from '../../../../plugin/common/deferred.ts'
import type { Deferred } from '../../../../plugin/common/deferred.ts'
import type { LogLogger, TopicListener, TopicLog } from '../../../../plugin/topics/log/topic-log.ts'
import { ProducerNode } from './producer-node.ts'
import type { NodeSaid } from './producer-node.ts'

export type NodeCalls = Pick<ProducerNode, 'produce' | 'read' | 'lease' | 'ends' | 'entries'>

/** The message with which calls to a killed node are rejected. */
export const KILLED = 'the node was killed'

/** The place where a node runs. After `kill` another node takes its place. */
export interface Host {
  readonly node: NodeCalls
  kill: () => Promise<void>
  pause: () => Promise<void>
  resume: () => Promise<void>
}

/** A node of this process. It is cut off from its log in place of signals, which would also stop the test. */
export class LocalHost implements Host {
  readonly #log: TopicLog
  readonly #onSaid: (said: NodeSaid) => void
  #gate: Gate
  #node: ProducerNode
  #killed = deferred<void>()

  constructor (log: TopicLog, onSaid: (said: NodeSaid) => void) {
    this.#log = log
    this.#onSaid = onSaid
    this.#gate = new Gate(log)
    this.#node = this.#start()
  }

  readonly node: NodeCalls = {
    produce: order => this.#unlessKilled(this.#node.produce(order)),
    read: (topic, cursor) => this.#unlessKilled(this.#node.read(topic, cursor)),
    lease: (topic, request) => this.#node.lease(topic, request),
    ends: topic => this.#node.ends(topic),
    entries: topic => this.#node.entries(topic)
  }

  async kill (): Promise<void> {
    this.#gate.destroy()
    this.#killed.settle()
    this.#killed = deferred()
    this.#gate = new Gate(this.#log)
    this.#node = this.#start()
  }

  async pause (): Promise<void> { this.#gate.close() }
  async resume (): Promise<void> { this.#gate.open() }

  #start (): ProducerNode {
    const gate = this.#gate
    return new ProducerNode(gate.log, said => { if (gate === this.#gate) this.#onSaid(said) })
  }

  async #unlessKilled<T> (call: Promise<T>): Promise<T> {
    const killed = this.#killed.promise.then(() => { throw new Error(KILLED) })
    return Promise.race([call, killed])
  }
}

/** A log that several nodes follow. On its own it has one listener per topic, for its own process. */
export function shared (log: TopicLog): TopicLog {
  const fans = new Map<string, { listeners: Set<TopicListener>, fan: TopicListener }>()
  const fanOf = (topic: string) => {
    const listeners = new Set<TopicListener>()
    const known = fans.get(topic) ?? { listeners, fan: fanOut(listeners) }
    fans.set(topic, known)
    return known
  }
  const follow = (topic: string, listener: TopicListener) => {
    const { listeners, fan } = fanOf(topic)
    listeners.add(listener)
    return log.follow(topic, fan)
  }
  const unfollow = async (topic: string, listener: TopicListener): Promise<void> => {
    fanOf(topic).listeners.delete(listener)
  }
  return { ...passing(log, request => request()), follow, unfollow }
}

function fanOut (listeners: ReadonlySet<TopicListener>): TopicListener {
  const all = (tell: (listener: TopicListener) => void): void => { for (const listener of listeners) tell(listener) }
  return {
    onEntries: entries => { all(listener => listener.onEntries(entries)) },
    onClosed: () => { all(listener => listener.onClosed()) },
    onStop: fence => { all(listener => listener.onStop(fence)) },
    onResync: () => { all(listener => listener.onResync()) }
  }
}

type Pass = <T>(request: () => Promise<T>) => Promise<T>

function passing (log: TopicLog, pass: Pass): TopicLog {
  return {
    start: (logger: LogLogger) => log.start(logger),
    stop: () => log.stop(),
    append: (...args) => pass(() => log.append(...args)),
    read: (...args) => pass(() => log.read(...args)),
    locate: (...args) => pass(() => log.locate(...args)),
    seek: (...args) => pass(() => log.seek(...args)),
    lease: (...args) => pass(() => log.lease(...args)),
    close: topic => pass(() => log.close(topic)),
    delete: topic => pass(() => log.delete(topic)),
    follow: (...args) => pass(() => log.follow(...args)),
    unfollow: (...args) => pass(() => log.unfollow(...args))
  }
}

/**
 * Between a node and its log. While it is closed nothing passes in either direction; after it is destroyed nothing
 * ever does, as when the node's process is stopped or killed.
 */
class Gate {
  #opened: Deferred<void> | undefined
  #isDestroyed = false
  readonly #listeners = new Map<TopicListener, TopicListener>()
  readonly #log: TopicLog

  constructor (log: TopicLog) { this.#log = log }

  close (): void { this.#opened ??= deferred() }

  open (): void {
    this.#opened?.settle()
    this.#opened = undefined
  }

  destroy (): void {
    this.#isDestroyed = true
    this.#opened = undefined
  }

  get log (): TopicLog {
    const log = this.#log
    return {
      ...passing(log, request => this.#pass(request)),
      follow: (topic, listener) => this.#pass(() => log.follow(topic, this.#listen(listener))),
      unfollow: (topic, listener) => this.#pass(() => log.unfollow(topic, this.#listen(listener)))
    }
  }

  async #pass<T> (request: () => Promise<T>): Promise<T> {
    await this.#through()
    const settled = await request().then(value => () => value, (error: unknown) => () => { throw error })
    await this.#through()
    return settled() as T
  }

  /** Settles when the gate is open; never after it is destroyed. */
  async #through (): Promise<void> {
    while (this.#opened && !this.#isDestroyed) await this.#opened.promise
    if (this.#isDestroyed) await new Promise(() => {})
  }

  #listen (listener: TopicListener): TopicListener {
    const known = this.#listeners.get(listener)
    const later = (tell: () => void): void => {
      if (this.#opened || this.#isDestroyed) void this.#through().then(tell)
      else tell()
    }
    const gated = known ?? {
      onEntries: entries => { later(() => listener.onEntries(entries)) },
      onClosed: () => { later(() => listener.onClosed()) },
      onStop: fence => { later(() => listener.onStop(fence)) },
      onResync: () => { later(() => listener.onResync()) }
    }
    this.#listeners.set(listener, gated)
    return gated
  }
}
