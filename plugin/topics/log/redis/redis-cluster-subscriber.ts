import { slotOf } from './slot.ts'
import type { Cluster } from 'ioredis'
import { RedisSubscriber } from './redis-subscriber.ts'
import type { RedisSubscriberInit } from './redis-subscriber.ts'

export interface ClusterSubscriberInit extends Pick<RedisSubscriberInit, 'trouble' | 'onMessage' | 'onRestored'> {
  /** The connection for commands, which knows where each slot is. */
  cluster: Cluster
  /** A connection for messages to one node, not yet connected. */
  connect: (host: string, port: number) => RedisSubscriberInit['connection']
  canary: { prefix: string, intervalMs: number, send: (channel: string) => Promise<unknown> }
}

interface Route { slot: number, node: string }

interface Move { channel: string, route: Route, node: string }

/** Channels moved concurrently after a failover. */
const CHUNK = 500

/**
 * Listens to a cluster: sharded messages stay on the node that has the slot, so there is one connection to each node
 * that has a followed topic. If slots move, or a replica takes over, the topics' channels follow them.
 */
export class RedisClusterSubscriber {
  readonly #init: ClusterSubscriberInit
  readonly #nodes = new Map<string, RedisSubscriber>()
  readonly #routes = new Map<string, Route>()
  /** Nodes that gave a slot away: they dropped its channels, even if the slot has come back since. */
  readonly #suspects = new Set<string>()
  #watch: NodeJS.Timeout | undefined
  #isRerouting = false
  /** Totals of nodes that are no longer used. */
  #past = { reconnects: 0, replaced: 0 }

  constructor (init: ClusterSubscriberInit) {
    this.#init = init
    init.cluster.on('refresh', () => { void this.#reroute() })
  }

  /** How many times a connection was lost and restored. */
  get reconnects (): number { return this.#sum('reconnects') }

  /** Number of connections that received nothing and were replaced. */
  get replaced (): number { return this.#sum('replaced') }

  /** The longest time in ms since the probe of any node was received. */
  get canaryAgeMs (): number {
    return Math.max(0, ...[...this.#nodes.values()].map(node => node.canaryAgeMs))
  }

  get isHealthy (): boolean {
    return (
      [...this.#nodes.values()].every(node => node.isHealthy) &&
      [...this.#routes.values()].every(({ node }) => node !== '')
    )
  }

  async start (): Promise<void> {
    this.#watch = setInterval(() => { void this.#reroute() }, this.#init.canary.intervalMs).unref()
  }

  /** Rejects if the node that has the channel is unreachable; nothing is subscribed then. */
  async subscribe (channel: string): Promise<void> {
    const slot = slotOf(channel)
    const node = this.#nodeOf(slot)
    try {
      await this.#listen(node, channel)
    } catch (error) {
      await this.#leave(node, channel)
      throw error
    }
    this.#routes.set(channel, { slot, node })
  }

  async unsubscribe (channel: string): Promise<void> {
    const route = this.#routes.get(channel)
    this.#routes.delete(channel)
    if (route) await this.#leave(route.node, channel)
  }

  stop (): void {
    clearInterval(this.#watch)
    for (const node of this.#nodes.values()) node.stop()
    this.#nodes.clear()
    this.#routes.clear()
  }

  #sum (what: 'reconnects' | 'replaced'): number {
    return [...this.#nodes.values()].reduce((sum, node) => sum + node[what], this.#past[what])
  }

  /** Moves every channel to the node that currently has its slot; failed moves are retried at the next check. */
  async #reroute (): Promise<void> {
    if (this.#isRerouting) return
    this.#isRerouting = true
    try {
      const moves = this.#misplaced()
      for (let at = 0; at < moves.length; at += CHUNK) {
        // One failure must not leave the other channels in the wrong place.
        await Promise.allSettled(
          moves.slice(at, at + CHUNK).map(({ channel, route, node }) => this.#move(channel, route, node))
        )
      }
      this.#dropUnused()
    } finally {
      this.#isRerouting = false
    }
  }

  #misplaced (): Move[] {
    const suspects = new Set(this.#suspects)
    this.#suspects.clear()
    return [...this.#routes].flatMap(([channel, route]) => {
      const node = this.#init.cluster.slots[route.slot]?.[0]
      return node !== undefined && (node !== route.node || suspects.has(node)) ? [{ channel, route, node }] : []
    })
  }

  async #move (channel: string, route: Route, node: string): Promise<void> {
    const old = route.node
    try {
      await this.#listen(node, channel)
    } catch {
      // On no node for now; the next check finds it in the wrong place and tries again.
      route.node = ''
      return
    }
    // It was unsubscribed in the meantime.
    if (this.#routes.get(channel) !== route) return this.#leave(node, channel)
    route.node = node
    this.#init.onRestored([channel])
    // The old node may continue as a replica, and would keep the subscription.
    if (old !== node) await this.#leave(old, channel)
  }

  /** An unreachable node that is no longer a master would be retried indefinitely. */
  #dropUnused (): void {
    const masters = new Set(this.#init.cluster.nodes('master').map(({ options: { host, port } }) => `${host}:${port}`))
    for (const [name, node] of this.#nodes) if (node.size === 0 && !masters.has(name)) this.#drop(name, node)
  }

  #suspect (node: string): void {
    this.#suspects.add(node)
    // Ends with 'refresh', which triggers another check of the routes.
    this.#init.cluster.refreshSlotsCache()
  }

  /** A node without channels needs no connection. */
  async #leave (name: string, channel: string): Promise<void> {
    const node = this.#nodes.get(name)
    // A node that is gone has lost its subscribers anyway.
    await node?.unsubscribe(channel).catch(() => {})
    if (node?.size === 0) this.#drop(name, node)
  }

  #drop (name: string, node: RedisSubscriber): void {
    this.#nodes.delete(name)
    this.#past.reconnects += node.reconnects
    this.#past.replaced += node.replaced
    node.stop()
  }

  async #listen (node: string, channel: string): Promise<void> {
    const subscriber = this.#subscriber(node)
    await subscriber.start()
    await subscriber.subscribe(channel)
  }

  #nodeOf (slot: number): string {
    const node = this.#init.cluster.slots[slot]?.[0]
    if (node === undefined) throw new Error(`the cluster has no node for slot ${slot}`)
    return node
  }

  #subscriber (name: string): RedisSubscriber {
    const known = this.#nodes.get(name)
    if (known) return known
    const { trouble, onMessage, onRestored, canary, connect } = this.#init
    const [, host = '', port = ''] = /^(.*):(\d+)$/.exec(name) ?? []
    const made = new RedisSubscriber({
      connection: connect(host, Number(port)),
      name: `message (${name})`,
      isSharded: true,
      trouble,
      onMessage,
      onRestored,
      onMoved: () => this.#suspect(name),
      canary: { intervalMs: canary.intervalMs, send: canary.send, channel: () => this.#canaryChannel(name) }
    })
    this.#nodes.set(name, made)
    return made
  }

  /**
   * A channel whose slot the node has; any channel if it has none: then it receives nothing, and its channels move
   * away.
   */
  #canaryChannel (node: string): string {
    const { canary: { prefix }, cluster: { slots } } = this.#init
    let at = 0
    while (at < slots.length && slots[slotOf(`${prefix}:${at}`)]?.[0] !== node) at++
    return `${prefix}:${at}`
  }
}
