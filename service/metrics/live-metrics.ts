import { Counter, Gauge } from 'prom-client'
import type { Aggregator, Registry } from 'prom-client'

/** Prefix of all our metrics. */
export const PREFIX = 'sse_'

/** Name, help and registry of a metric. */
export function describe (
  registry: Registry,
  name: string,
  help: string
): { name: string, help: string, registers: Registry[] } {
  return { name: `${PREFIX}${name}`, help, registers: [registry] }
}

/** A value that is kept elsewhere and read on request. `aggregator` combines the values of several processes. */
interface Live { name: string, help: string, value: () => number, aggregator?: Aggregator }

/** Adds a gauge for a value that is kept elsewhere. */
export function addGauge (registry: Registry, { name, help, value, aggregator = 'sum' }: Live): Gauge {
  return new Gauge({ ...describe(registry, name, help), aggregator, collect () { this.set(value()) } })
}

/** Adds a counter for a value that is kept elsewhere and only grows. */
export function addCounter (registry: Registry, { name, help, value }: Live): Counter {
  return new Counter({
    ...describe(registry, name, help),
    collect () {
      this.reset()
      this.inc(value())
    }
  })
}

/**
 * Values by one label that are kept elsewhere; the known labels exist from the start, so that a rate includes the first
 * increment.
 */
interface LiveByLabel<K extends string> {
  name: string
  help: string
  label: string
  known: readonly K[]
  values: ReadonlyMap<K, number>
}

/** Adds a counter for such values. */
export function addCounterByLabel<K extends string> (
  registry: Registry,
  { name, help, label, known, values }: LiveByLabel<K>
): Counter {
  return new Counter({
    ...describe(registry, name, help),
    labelNames: [label],
    collect () {
      this.reset()
      for (const key of known) this.inc({ [label]: key }, 0)
      for (const [key, value] of values) this.inc({ [label]: key }, value)
    }
  })
}
