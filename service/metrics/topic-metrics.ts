import { Counter, Histogram } from 'prom-client'
import type { Registry } from 'prom-client'
import type { GapReason, ResumeOutcome, TopicsCounts, TopicsObserver } from 'fastify-resumable-sse/topics'
import { addGauge, describe } from './live-metrics.ts'

const LAG_BUCKETS_S = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300]

const GAP_REASONS = Object.keys({ trimmed: 0, fork: 0, unknown: 0, expired: 0 } satisfies Record<GapReason, 0>)
const RESUME_OUTCOMES = Object.keys({
  exact: 0,
  empty: 0,
  trimmed: 0,
  fork: 0,
  unknown: 0,
  expired: 0
} satisfies Record<ResumeOutcome, 0>)

/** Counts what the topics report. */
export function createTopicsObserver (registry: Registry): TopicsObserver {
  const resumes = new Counter({
    ...describe(registry, 'resumes_total', 'Topics of clients that reconnected with a cursor'),
    labelNames: ['outcome']
  })
  const gaps = new Counter({
    ...describe(registry, 'gaps_total', 'Gaps found after the start of a stream'),
    labelNames: ['reason']
  })
  const resyncs = new Counter(
    describe(registry, 'resyncs_total', 'Resyncs: comparisons of a followed topic with the log')
  )
  const lag = new Histogram({
    ...describe(registry, 'publish_to_write_seconds', 'Time from the id of an event to its write to clients'),
    buckets: LAG_BUCKETS_S
  })
  for (const outcome of RESUME_OUTCOMES) resumes.inc({ outcome }, 0)
  for (const reason of GAP_REASONS) gaps.inc({ reason }, 0)
  return {
    onResume: outcome => resumes.inc({ outcome }),
    onGap: reason => gaps.inc({ reason }),
    onResync: () => resyncs.inc(),
    onBatch: ({ lagMs }) => lag.observe(lagMs / 1_000)
  }
}

/** The state of the topics, read on request. */
export function watchTopics (registry: Registry, counts: () => TopicsCounts): void {
  const gauges: [keyof TopicsCounts, string, string][] = [
    ['topics', 'topics_followed', 'Topics that open streams follow'],
    ['feeds', 'feeds', 'Sets of topics that have readers'],
    ['tailBytes', 'tail_bytes', 'Encoded events kept in memory for readers'],
    [
      'lagging',
      'readers_lagging',
      'Readers that are not at the end of their topics, because they read the log or wait for a slow client'
    ]
  ]
  for (const [what, name, help] of gauges) addGauge(registry, { name, help, value: () => counts()[what] })
}
