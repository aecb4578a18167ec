import type { EndReason, LeaseReply } from '../log/lease.ts'
import { producerIdOf } from './options.ts'

/** An active producer. */
export interface LiveProducer {
  /** Identifies it for `stop()`. */
  lease: number
  holder: string
  /** Number of its events in the topic. */
  accepted: number
  /** The remaining time of its lease, in ms. */
  remainingMs: number
}

/** The active or last producer of a topic. */
export interface ProducerInfo {
  topic: string
  /** `none`: there has been no producer; `live`: it is active; otherwise why the topic was closed. */
  state: 'none' | 'live' | EndReason
  /** Its `producerId`; null if it has none. */
  producerId: string | null
  /** Its name: see `holder` of `produce()`; null if there has been no producer. */
  holder: string | null
  /** Its lease, for `stop()`; null if none is held. */
  lease: number | null
  /** Number of its events in the topic. */
  accepted: number
  /** Time since its last append or renewal, in ms; null if no lease is held. */
  silentMs: number | null
  /** The remaining time of the lease, in ms; null if none is held. */
  remainingMs: number | null
  /** Its message about its failure, or null. */
  message: string | null
}

/** Created from the reply to a look at a topic's lease. */
export function toProducerInfo (topic: string, reply: LeaseReply): ProducerInfo {
  const { outcome, isClosed, reason, message, fence, holder, leaseMs, remainingMs, accepted } = reply
  const isLive = outcome === 'ok'
  return {
    topic,
    state: isClosed ? reason! : isLive ? 'live' : 'none',
    producerId: producerIdOf(holder),
    holder: holder || null,
    lease: isLive ? fence : null,
    accepted,
    silentMs: isLive ? leaseMs - remainingMs : null,
    remainingMs: isLive ? remainingMs : null,
    message: message ?? null
  }
}

/** The active producer, as returned by `app.topics.info()`. */
export function describeProducer (reply: LeaseReply): LiveProducer | null {
  const { outcome, fence: lease, holder, accepted, remainingMs } = reply
  return outcome === 'ok' ? { lease, holder, accepted, remainingMs } : null
}
