import { isThere, startContender } from './harness/contenders.ts'
import type { Contender, ContenderName } from './harness/contenders.ts'
import { Program } from './harness/rpc.ts'
import type { GroupInit, Received } from './load/group.ts'
import type { PublishLoad, PublishReport } from './load/publisher.ts'

export interface Window {
  group: string
  clients: number
  /** Number of events that each client receives. Default: the number published. */
  each?: number
  publish: Omit<PublishLoad, 'port'>
}

/** The cost of one window of publishing and receiving. */
export interface Delivery extends Received {
  deliveries: number
  /** From the first publish until the last client had the last event. */
  seconds: number
  /** CPU of the server and its Redis, per event and client. */
  microsPerDelivery: number
}

/**
 * What the scenarios use: the contenders, each in a separate process that stays warm for the whole run, the clients and
 * the publisher.
 */
export class Stage {
  /** True to use only small numbers, to check that everything works. */
  readonly isSmoke: boolean
  readonly clients: Program
  readonly publisher: Program
  /** Peers that are not installed. */
  readonly missing = new Set<string>()
  readonly #contenders = new Map<ContenderName, Promise<Contender>>()

  private constructor (isSmoke: boolean, clients: Program, publisher: Program) {
    this.isSmoke = isSmoke
    this.clients = clients
    this.publisher = publisher
  }

  static async start (isSmoke: boolean): Promise<Stage> {
    return new Stage(isSmoke, await Program.start('load/clients'), await Program.start('load/publisher'))
  }

  async stop (): Promise<void> {
    for (const starting of this.#contenders.values()) await (await starting).stop()
    await this.publisher.stop()
    await this.clients.stop()
  }

  pick<T> (full: T, smoke: T): T {
    return this.isSmoke ? smoke : full
  }

  /** The contenders among these that are installed. */
  there (names: readonly ContenderName[]): ContenderName[] {
    for (const name of names) if (!isThere(name)) this.missing.add(name)
    return names.filter(name => !this.missing.has(name))
  }

  /** The warm process of a contender. */
  async contender (name: ContenderName): Promise<Contender> {
    const starting = this.#contenders.get(name) ?? startContender(name)
    this.#contenders.set(name, starting)
    return starting
  }

  async connect (contender: Contender, init: Omit<GroupInit, 'port'>): Promise<void> {
    await this.clients.call('connect', { port: contender.port, ...init })
  }

  async publish (contender: Pick<Contender, 'port'>, load: Omit<PublishLoad, 'port'>): Promise<PublishReport> {
    return this.publisher.call<PublishReport>('publish', { port: contender.port, ...load })
  }

  async close (group: string): Promise<void> {
    await this.clients.call('close', { group })
  }

  /** Connects a group whose clients have missed events, waits until they have received them, and closes it. */
  async connectAll (contender: Contender, init: Omit<GroupInit, 'port'> & { expect: number }): Promise<Delivery> {
    const startedAtMs = Number(process.hrtime.bigint()) / 1e6
    const cpuBefore = contender.cpu()
    await this.connect(contender, init)
    const received = await this.clients.call<Received>('received', { group: init.group })
    const cpu = contender.cpu() - cpuBefore
    await this.close(init.group)
    return toDelivery(received, startedAtMs, cpu, init.expect * init.clients)
  }

  /** Publishes to a connected group, and waits until every client has received every event. */
  async deliver (contender: Contender, { group, clients, publish, each = publish.events }: Window): Promise<Delivery> {
    await this.clients.call('mark', { group, events: each })
    const cpuBefore = contender.cpu()
    const { startedAtMs } = await this.publish(contender, publish)
    const received = await this.clients.call<Received>('received', { group })
    return toDelivery(received, startedAtMs, contender.cpu() - cpuBefore, each * clients)
  }

  /**
   * Runs the sides in turn, round after round, so that other load on the machine affects all of them. Rounds of
   * `warmUp` do not count, because a process that has just started is still compiling its code.
   */
  async alternate<N extends string, T> (
    names: readonly N[],
    measure: (name: N, round: number) => Promise<T>,
    { rounds = 3, warmUp = 1 } = {}
  ): Promise<Record<N, T[]>> {
    const results = Object.fromEntries(names.map(name => [name, [] as T[]])) as Record<N, T[]>
    for (let round = 0; round < (this.isSmoke ? 1 : warmUp + rounds); round++) {
      for (const name of names) {
        const result = await measure(name, round)
        if (this.isSmoke || round >= warmUp) results[name].push(result)
      }
    }
    return results
  }
}

function toDelivery (received: Received, startedAtMs: number, cpuSeconds: number, deliveries: number): Delivery {
  const seconds = (received.finishedAtMs - startedAtMs) / 1e3
  return { ...received, deliveries, seconds, microsPerDelivery: cpuSeconds * 1e6 / deliveries }
}
