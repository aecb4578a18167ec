import type { RedisTrouble } from './redis-trouble.ts'

/** The name of this problem, next to the names of connections. */
export const WRITES = 'writes'
/** How long a rejected write is reported if no further write confirms or contradicts it. */
const REMEMBERED_MS = 60_000

/**
 * Detects that Redis answers reads but rejects writes: its memory is full (OOM), it is a replica (READONLY), it cannot
 * save to its disk (MISCONF), or too few replicas are connected (NOREPLICAS). Connections and probes still work, so
 * only a write detects it. An error of a single key, such as WRONGTYPE, does not count.
 */
export class WriteRefusal {
  readonly #trouble: RedisTrouble
  readonly #rememberedMs: number
  #key: string | undefined
  #timer: NodeJS.Timeout | undefined

  constructor (trouble: RedisTrouble, rememberedMs = REMEMBERED_MS) {
    this.#trouble = trouble
    this.#rememberedMs = rememberedMs
  }

  /** Redis rejected a write to this key. */
  begin (key: string, reason: string): void {
    this.stop()
    this.#key = key
    this.#timer = setTimeout(() => this.end(key), this.#rememberedMs).unref()
    this.#trouble.begin(WRITES, reason, 'Redis rejects writes')
  }

  /** Redis accepted a write to this key. Another key may be on a cluster node that has no problem. */
  end (key: string): void {
    if (key !== this.#key) return
    this.stop()
    this.#trouble.end(WRITES)
  }

  /** Clears the timer. */
  stop (): void {
    clearTimeout(this.#timer)
    this.#key = undefined
  }
}
