import type { Registry } from 'prom-client'
import type { CloseReason, OpenStreams } from 'fastify-resumable-sse'
import { addCounter, addCounterByLabel, addGauge } from './live-metrics.ts'

const CLOSE_REASONS = Object.keys({
  end: 0,
  client: 0,
  slow: 0,
  shutdown: 0,
  error: 0,
  lifetime: 0,
  expired: 0,
  revoked: 0,
  replaced: 0
} satisfies Record<CloseReason, 0>) as CloseReason[]
const REJECTION_CODES = [
  'SERVICE_TOO_MANY_STREAMS',
  'SERVICE_TOO_MANY_STREAMS_OF_ADDRESS',
  'SERVICE_TOO_MANY_TOPICS_OF_SUBJECT',
  'TOPICS_TOO_MANY_FOLLOWED',
  'TOPICS_BAD_TOPIC_COUNT',
  'TOPICS_LOG_UNAVAILABLE',
  'SERVICE_DRAINING'
]

/** The streams of this process; values are computed on request, so that deliveries cause no additional work. */
export function watchStreams (
  registry: Registry,
  streams: OpenStreams,
  rejected: ReadonlyMap<string, number>
): void {
  addGauge(registry, { name: 'streams_open', help: 'Streams open now', value: () => streams.size })
  addCounter(registry, { name: 'streams_opened_total', help: 'Streams that were opened', value: () => streams.opened })
  addCounter(registry, {
    name: 'events_delivered_total',
    help: 'Events written to streams',
    value: () => streams.written.events
  })
  addCounter(registry, {
    name: 'bytes_sent_total',
    help: 'Bytes written to streams, heartbeats included',
    value: () => streams.written.bytes
  })
  addCounterByLabel(registry, {
    name: 'streams_closed_total',
    help: 'Streams that have ended, by close reason',
    label: 'reason',
    known: CLOSE_REASONS,
    values: streams.closed
  })
  addCounterByLabel(registry, {
    name: 'streams_refused_total',
    help: 'Streams that were rejected before they started, by error code',
    label: 'code',
    known: REJECTION_CODES,
    values: rejected
  })
}
