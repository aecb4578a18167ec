/** What a heartbeat watches. It is called at every tick, and counts its own ticks without a write. */
export interface Ticking {
  tick (): void
}

/** Ticks per heartbeat: a quiet stream hears of it at most a quarter late. */
export const TICKS_PER_HEARTBEAT = 4

/** Heartbeats for which a client may take nothing while bytes wait; noticed at most a quarter of one later. */
export const STALL_HEARTBEATS = 2

/** Interval of the ticks, and half the time a frozen client is given, where heartbeats are off; in ms. */
export const DEFAULT_STALL_MS = 15_000

/**
 * One coarse timer for all streams with the same interval. Streams keep no timer and read no clock when they write:
 * a write clears their count of quiet ticks, and the tick that makes it full sends the comment.
 * The timer runs only while there are streams, and never keeps the process alive.
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
