/** An object with heartbeats. It is called at every tick, and counts its own ticks without a write. */
export interface Ticking {
  tick (): void
}

/** Ticks per heartbeat: the heartbeat of an idle stream is at most a quarter of the interval late. */
export const TICKS_PER_HEARTBEAT = 4

/**
 * Number of heartbeats for which a client may read nothing while bytes are pending; detected at most a quarter of one
 * later.
 */
export const STALL_HEARTBEATS = 2

/** Without heartbeats: the interval of the ticks and half the time allowed to a frozen client, in ms. */
export const DEFAULT_STALL_MS = 15_000

/**
 * One coarse timer for all streams with the same interval. Streams have no timers and do not read the clock when they
 * write: a write resets their count of quiet ticks, and the tick that completes it sends the comment. The timer runs
 * only while there are streams, and never keeps the process alive.
 */
export class HeartbeatTimer {
  readonly #groups = new Map<number, { members: Set<Ticking>, timer: NodeJS.Timeout }>()

  add (member: Ticking, heartbeatMs: number): void {
    const group = this.#groups.get(heartbeatMs)
    if (group) group.members.add(member)
    else this.#groups.set(heartbeatMs, this.#start(member, heartbeatMs))
  }

  remove (member: Ticking, heartbeatMs: number): void {
    const group = this.#groups.get(heartbeatMs)
    if (!group?.members.delete(member) || group.members.size > 0) return
    clearInterval(group.timer)
    this.#groups.delete(heartbeatMs)
  }

  #start (member: Ticking, heartbeatMs: number): { members: Set<Ticking>, timer: NodeJS.Timeout } {
    const members = new Set([member])
    const timer = setInterval(
      () => {
        for (const each of members) each.tick()
      },
      Math.ceil(heartbeatMs / TICKS_PER_HEARTBEAT)
    )
    return { members, timer: timer.unref() }
  }
}
