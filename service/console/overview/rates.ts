import { numberOf } from '../page/format.ts'

/** Number of samples in a plot, and how many of the newest determine the rate. */
export const SAMPLES = 60
const RECENT = 5
/** After a failover of Redis the numbers of a topic jump by a million or more; such jumps are not events. */
const MAX_EVENTS_PER_SAMPLE = 500_000
/** Maximum number of topics with samples. */
const MAX_TOPICS = 1_000

interface Series { number: number, readonly perSecond: number[] }

/** Events per second of each topic, from the numbers in the ids of its newest events. */
export class Rates {
  readonly #series = new Map<string, Series>()
  #sampledAt: number | undefined

  /**
   * Adds the newest id of each topic, null for none; a topic that is missing had no event. `nowMs` is from a monotonic
   * clock.
   */
  sample (newest: ReadonlyMap<string, string | null>, nowMs: number): void {
    const seconds = this.#sampledAt === undefined ? 0 : (nowMs - this.#sampledAt) / 1_000
    this.#sampledAt = nowMs
    for (const [topic, id] of newest) if (!this.#series.has(topic)) this.#begin(topic, id)
    for (const [topic, series] of this.#series) {
      const number = numberOf(newest.get(topic) ?? '') ?? series.number
      // Another process may respond that knows fewer events of the topic.
      const events = Math.max(0, number - series.number)
      series.number = Math.max(number, series.number)
      series.perSecond.push(seconds === 0 || events > MAX_EVENTS_PER_SAMPLE ? 0 : events / seconds)
      if (series.perSecond.length > SAMPLES) series.perSecond.shift()
    }
  }

  /** The current rate in events per second. */
  rateOf (topic: string): number {
    const recent = this.samplesOf(topic).slice(-RECENT)
    return recent.length === 0 ? 0 : recent.reduce((sum, each) => sum + each, 0) / recent.length
  }

  /** Events per second for each sample, oldest first. */
  samplesOf (topic: string): readonly number[] {
    return this.#series.get(topic)?.perSecond ?? []
  }

  #begin (topic: string, id: string | null): void {
    this.#series.set(topic, { number: numberOf(id ?? '') ?? 0, perSecond: [] })
    if (this.#series.size > MAX_TOPICS) this.#series.delete(this.#series.keys().next().value!)
  }
}
