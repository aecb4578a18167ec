import { randomUUID } from 'node:crypto'
import type { Test } from 'tap'
import { until } from '../../until.ts'
import { KILLED } from './producer-host.ts'
import type { Host, NodeCalls } from './producer-host.ts'
import type { NodeSaid, ProduceOrder } from './producer-node.ts'
import { ProducerRecord } from './producer-record.ts'
import { Random } from '../random.ts'
import { whatIsWrong } from '../seeds.ts'

/** The environment in which the rounds of a test file run. */
export interface ProducerStage {
  /** Receives the messages of the hosts. */
  hear: (said: NodeSaid) => void
  /** The hosts of the producers: two different ones, or the same one twice. */
  hosts: readonly [Host, Host]
  /** The host of the reader, at which the topic is also inspected. */
  reader: Host
  /** Failovers may lose acknowledged events. */
  isLossy: boolean
  leaseMs: number
  /** Possible faults of the log. */
  faults: readonly ((topic: string, random: Random) => Promise<void>)[]
  /** Number of rounds by the way in which they ended. */
  ended: Record<string, number>
}

/** Kinds of rounds: the producer is continued until its end, all producers die, or all are paused for too long. */
type Kind = 'continued' | 'killed' | 'paused'

/** One of the two hosts gives up after this many writers: on a busy machine they would only displace each other. */
const MAX_RIVALRY = 30
/** No reader waits this long: more than a hundred leases, and longer than any machine is busy. */
const FOREVER_MS = 60_000

/** One round on one topic; returns the problems. */
export async function runProducerRound (stage: ProducerStage, seed: number): Promise<string[]> {
  return new Round(stage, new Random(seed)).run()
}

class Round {
  readonly #stage: ProducerStage
  readonly #random: Random
  readonly #record: ProducerRecord
  readonly #topic = randomUUID()
  readonly #kind: Kind
  readonly #total: number
  /** Events acknowledged before the first fault, and before each of the next ones. */
  readonly #every: number
  /** The current writers of each host. */
  readonly #current = new Map<Host, Set<string>>()
  #writers = 0
  /** The producer is no longer continued. */
  #isLeft = false
  /** The end is no longer waited for. */
  #isGivenUp = false
  /** The reader has reached the end of the topic. */
  #isRead = false

  constructor (stage: ProducerStage, random: Random) {
    this.#stage = stage
    this.#random = random
    this.#record = new ProducerRecord(this.#topic, stage.isLossy)
    stage.hear = said => { this.#record.hear(said) }
    this.#kind = random.pick(['continued', 'continued', 'killed', 'paused'] as const)
    this.#total = random.integer(20, 60)
    this.#every = random.integer(1, 6)
  }

  async run (): Promise<string[]> {
    const { hosts, ended } = this.#stage
    const reading = this.#read()
    await until(() => this.#record.journal.cursor !== undefined)
    const working = hosts.map((host, at) => this.#work(host, at === 0 ? Infinity : MAX_RIVALRY))
    await this.#disturb()
    if (this.#kind !== 'continued') await this.#leave()
    await Promise.race([reading, this.#forever()])
    const { reason } = await this.#ask(node => node.lease(this.#topic, { do: 'look' }))
    // A reader that has read everything, and lost its connection before it received the end, receives it with the next
    // connection.
    if (this.#isRead) this.#record.told ??= reason
    this.#isLeft = this.#isGivenUp = true
    if (this.#record.told === undefined) return [...this.#record.problems, `${this.#kind}: the reader still waits`]
    await Promise.all(working)
    ended[`${this.#kind} ${reason}`] = (ended[`${this.#kind} ${reason}`] ?? 0) + 1
    return this.#record.check({
      entries: await this.#ask(node => node.entries(this.#topic)),
      ends: await this.#ask(node => node.ends(this.#topic)),
      look: await this.#ask(node => node.lease(this.#topic, { do: 'look' }))
    })
  }

  /** Reads to the end of the topic, with a new connection when one is lost. */
  async #read (): Promise<void> {
    const { reader } = this.#stage
    const isAtEnd = async (): Promise<boolean> => reader.node.read(this.#topic, this.#record.journal.cursor)
    while (!await isAtEnd().catch(ifKilled(false)) && !this.#isGivenUp) await pause(5)
    this.#isRead = true
  }

  /** Continues the producer of the topic from one host repeatedly, until the topic is closed. */
  async #work (host: Host, maxWriters: number): Promise<void> {
    while (!this.#isLeft && this.#writers < maxWriters) {
      const { isClosed, accepted, holder } = await this.#ask(node => node.lease(this.#topic, { do: 'look' }))
      if (isClosed || this.#isLeft) return
      await this.#write(host, this.#order(accepted, holder))
      await pause(this.#random.integer(0, 40))
    }
  }

  /** Mostly the existing producer is continued, from a position that the writer may choose. */
  #order (accepted: number, holder: string): ProduceOrder {
    const random = this.#random
    const takeOver = holder !== '' && random.chance(0.15)
    const writer = `w${++this.#writers}`
    const producerId = takeOver ? `p${this.#writers}` : holder.replace(/^id=/, '') || 'p0'
    const after = takeOver ? 0 : random.integer(0, accepted)
    const breakAt = random.chance(0.4) ? random.integer(after, this.#total) : this.#total
    const { leaseMs } = this.#stage
    return {
      topic: this.#topic,
      writer,
      producerId,
      after,
      total: this.#total,
      breakAt,
      takeOver,
      leaseMs,
      batchEvents: random.integer(1, 5),
      paceMs: random.integer(1, 6)
    }
  }

  async #write (host: Host, order: ProduceOrder): Promise<void> {
    this.#record.begin(order)
    const current = this.#current.get(host) ?? new Set()
    this.#current.set(host, current.add(order.writer))
    const end = await host.node.produce(order).catch(ifKilled(undefined))
    current.delete(order.writer)
    this.#record.writers.get(order.writer)!.end = end
  }

  /** Faults, each after some progress. */
  async #disturb (): Promise<void> {
    const { hosts, faults } = this.#stage
    const random = this.#random
    const disturbances = [
      () => random.pick(hosts).kill(),
      () => this.#pauseForLong([random.pick(hosts)]),
      () => this.#stop(),
      ...faults.map(fault => () => fault(this.#topic, random))
    ]
    for (let count = random.integer(0, 3); count > 0 && await this.#moreProgress(); count--) {
      await random.pick(disturbances)()
    }
    await this.#moreProgress()
  }

  /** False if the topic is closed before. */
  async #moreProgress (): Promise<boolean> {
    const wanted = this.#record.progress + this.#every
    await until(() => this.#record.progress >= wanted || this.#isOver)
    return !this.#isOver
  }

  get #isOver (): boolean { return this.#isRead || this.#record.told !== undefined || this.#record.problems.length > 0 }

  /** Stops the producer, or only its earlier leases. */
  async #stop (): Promise<void> {
    const { fence } = await this.#ask(node => node.lease(this.#topic, { do: 'look' }))
    const isStale = this.#random.chance(0.7)
    // Recorded before the request: the producer may be notified first.
    this.#record.isStopped ||= !isStale
    const { outcome } = await this.#ask(node => node.lease(this.#topic, {
      do: 'stop', fence: isStale ? fence - 1 : undefined
    }))
    if (isStale && outcome === 'ok') this.#record.problems.push('a stale stop was granted')
  }

  async #leave (): Promise<void> {
    const { hosts } = this.#stage
    this.#isLeft = true
    if (this.#kind === 'killed') for (const host of new Set(hosts)) await host.kill()
    else await this.#pauseForLong(hosts)
  }

  async #pauseForLong (hosts: readonly Host[]): Promise<void> {
    // Only writers that have or had a lease: others may take one after the pause.
    const paused = hosts.flatMap(host => [...this.#current.get(host) ?? []])
      .filter(writer => this.#record.writers.get(writer)!.accepted > 0)
    for (const host of hosts) await host.pause()
    await pause(this.#stage.leaseMs * 1.3 + 50)
    // A reader in another process receives the end while the process of the producer is still paused.
    if (this.#isLeft && !hosts.includes(this.#stage.reader)) await this.#forever()
    for (const writer of paused) this.#record.writers.get(writer)!.resumedAt = Date.now()
    for (const host of hosts) await host.resume()
  }

  async #forever (): Promise<void> {
    let [late, seen] = [performance.now() + FOREVER_MS, -1]
    while (performance.now() < late && !this.#isOver) {
      // While there are writers, the topic has not ended.
      const done = this.#record.progress + this.#writers
      if (done !== seen) [late, seen] = [performance.now() + FOREVER_MS, done]
      await pause(50)
    }
  }

  /** Queries the node that reads the topic, or the next one if it is killed. */
  async #ask<T> (question: (node: NodeCalls) => Promise<T>): Promise<T> {
    for (;;) {
      const answer = await question(this.#stage.reader.node).then(value => ({ value }), ifKilled(undefined))
      if (answer) return answer.value
      await pause(5)
    }
  }
}

function ifKilled<T> (instead: T): (error: Error) => T {
  return error => {
    if (error.message !== KILLED) throw error
    return instead
  }
}

function pause (ms: number): Promise<void> {
  return new Promise(resolve => { setTimeout(resolve, ms) })
}

/**
 * Runs the rounds, as many at a time as there are stages, and returns the problems by seed; a stage stops after
 * `most`. Only problems that match `kind` count.
 */
export async function runProducerRounds (
  t: Test,
  stages: readonly ProducerStage[],
  seeds: readonly number[],
  most = 3,
  kind?: RegExp
): Promise<Record<string, string[]>> {
  const found = await Promise.all(stages.map((stage, lane) => {
    const own = seeds.filter((_, at) => at % stages.length === lane)
    return whatIsWrong(own, seed => runProducerRound(stage, seed), most, kind)
  }))
  for (const { ended } of stages) t.comment(`rounds by how they went and ended: ${JSON.stringify(ended)}`)
  return Object.assign({}, ...found) as Record<string, string[]>
}
