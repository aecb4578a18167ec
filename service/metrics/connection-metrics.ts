import type { Registry } from 'prom-client'
import type { ConnectionCounts, CutReason } from '../http/connections/connections.ts'
import { addCounterByLabel, addGauge } from './live-metrics.ts'

const CUT_REASONS = Object.keys({ idle: 0, silent: 0, slow: 0, pipelining: 0, limit: 0 } satisfies Record<
  CutReason,
  0
>) as CutReason[]

/** TCP connections, whatever they are used for. */
export function watchConnections (registry: Registry, connections: ConnectionCounts): void {
  addGauge(registry, {
    name: 'connections_open',
    help: 'TCP connections open now, with or without a stream',
    value: () => connections.open
  })
  addCounterByLabel(registry, {
    name: 'connections_cut_total',
    help: 'TCP connections closed because of a limit',
    label: 'reason',
    known: CUT_REASONS,
    values: connections.closed
  })
}
