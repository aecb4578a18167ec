import { errors } from '../errors.ts'

/**
 * Why a topic accepts no more events: `closed` by a call; by its producer because it was `done`, was `stopped` on
 * request, or `failed`; or `lost`, because its producer did not renew its lease in time.
 */
export type EndReason = 'closed' | 'done' | 'stopped' | 'failed' | 'lost'

/** The end of a topic: the reason, and the producer's message about a failure. */
export interface TopicEnd { readonly reason: EndReason, readonly message?: string }

/** The lease of a topic's producer, as a log stores it with the topic. */
export interface Lease {
  /** Identifies the lease: a number that increases with each lease of the topic. 0 if there was none. */
  fence: number
  /** A description of its holder for users; empty if there is none. */
  holder: string
  /** How long the lease is valid after each append and renewal, in ms. */
  leaseMs: number
  /** When it expires, by the log's clock, in Unix ms; 0 if there is no holder. */
  untilMs: number
  /** Number of events appended with this lease. */
  accepted: number
  /** True if the producer was asked to stop. */
  mustStop: boolean
  /** How long the topic is kept when idle, in ms, as requested by a producer; 0 means as long as the retention says. */
  ttlMs: number
}

/** The part of a topic's state that leases change. */
export interface LeaseState {
  readonly isClosed: boolean
  /** Why it was closed; undefined while it is open. */
  readonly reason: EndReason | undefined
  /** The producer's message about its failure. */
  readonly message: string | undefined
  readonly lease: Lease
}

/** A request of a producer, or about a producer, to a topic. */
export type LeaseRequest =
  /**
   * Become the topic's producer. `takeOver` ends another producer's lease. With `resumeAfter`, an unexpired lease of
   * the same holder is continued: it gets a new fencing number, and the count of its events continues. `resumeAfter` is
   * the number of events that the producer does not send again; the request is rejected if the topic has fewer. `ttlMs`
   * is how long the idle topic is kept from now on; by default it stays unchanged.
   */
  | {
    do: 'take'
    holder: string
    leaseMs: number
    takeOver: boolean
    resumeAfter?: number | undefined
    ttlMs?: number | undefined
  }
  /**
   * Restore a lease that the log granted and lost, as in a failover: granted only if there is no holder and the log
   * knows of no lease that is as new. `accepted` is the number of events that the producer has appended.
   */
  | {
    do: 'restore'
    fence: number
    holder: string
    leaseMs: number
    accepted: number
    ttlMs?: number | undefined
  }
  | { do: 'renew', fence: number }
  /** Close the topic as its producer. */
  | { do: 'end', fence: number, reason: EndReason, message: string }
  /** Ask the producer to stop. With `fence`, only the producer that holds this lease. */
  | { do: 'stop', fence: number | undefined }
  /** Only read. Like any request, closes the topic if the lease has expired. */
  | { do: 'look' }

/**
 * The outcome of a request: the lease is `held` by another producer; events are `missing`, because the topic has fewer
 * events of the producer than it wants to continue after; `superseded`, because the lease is no longer the current one;
 * `none`, because there is no lease; or the topic is `closed`. Only `ok` changes anything.
 */
export type LeaseOutcome = 'ok' | 'held' | 'missing' | 'superseded' | 'closed' | 'none'

/** The reply to a request, with the state after it. */
export interface LeaseReply {
  readonly outcome: LeaseOutcome
  readonly isClosed: boolean
  readonly reason: EndReason | undefined
  readonly message: string | undefined
  readonly fence: number
  /** The holder of the lease; for a closed topic, its last holder. */
  readonly holder: string
  /** How long the lease is valid after each append and renewal, in ms; 0 if there was none. */
  readonly leaseMs: number
  /** The remaining time of the lease in ms; 0 if there is no holder. */
  readonly remainingMs: number
  /** Number of events that the topic has from that producer. */
  readonly accepted: number
  readonly mustStop: boolean
}

/** What followers of the topic are notified of after a request. */
export type LeaseNews = 'closed' | 'resync' | 'stop'

export const NO_LEASE: Lease = {
  fence: 0,
  holder: '',
  leaseMs: 0,
  untilMs: 0,
  accepted: 0,
  mustStop: false,
  ttlMs: 0
}

/** The state of a topic that was never written to. */
export const OPEN: LeaseState = { isClosed: false, reason: undefined, message: undefined, lease: NO_LEASE }

interface Step { outcome: LeaseOutcome, state: LeaseState, news?: LeaseNews }

/** The effect of a request on a topic. `lease.lua` does the same in Redis. */
export function applyLease (before: LeaseState, request: LeaseRequest, nowMs: number): Step {
  const state = expireLease(before, nowMs)
  const step = stepOf(state, request, nowMs)
  return state === before || step.news !== undefined ? step : { ...step, news: 'closed' }
}

function stepOf (state: LeaseState, request: LeaseRequest, nowMs: number): Step {
  const { lease } = state
  if (state.isClosed) return { outcome: 'closed', state }
  if (request.do === 'look') return { outcome: lease.untilMs > 0 ? 'ok' : 'none', state }
  if (request.do === 'take') return take(state, request, nowMs)
  if (request.do === 'restore') return restore(state, request, nowMs)
  if (lease.untilMs === 0) return { outcome: request.do === 'stop' ? 'none' : 'superseded', state }
  if (request.fence !== undefined && request.fence !== lease.fence) return { outcome: 'superseded', state }
  if (request.do === 'stop') {
    return { outcome: 'ok', state: { ...state, lease: { ...lease, mustStop: true } }, news: 'stop' }
  }
  if (request.do === 'renew') return { outcome: 'ok', state: { ...state, lease: renewed(lease, nowMs) } }
  return { outcome: 'ok', state: ended(state, request.reason, request.message), news: 'closed' }
}

function take (state: LeaseState, request: LeaseRequest & { do: 'take' }, nowMs: number): Step {
  const { holder, leaseMs, takeOver, resumeAfter, ttlMs } = request
  const isLive = state.lease.untilMs > 0
  const isMine = isLive && resumeAfter !== undefined && state.lease.holder === holder
  if (isLive && !isMine && !takeOver) return { outcome: 'held', state }
  const { accepted, mustStop } = isMine ? state.lease : NO_LEASE
  if (accepted < (resumeAfter ?? 0)) return { outcome: 'missing', state }
  // Never smaller than the clock, so that a new lease is not mistaken for an old one even if the topic was forgotten
  // together with its numbers.
  const fence = Math.max(state.lease.fence + 1, nowMs)
  return grant(state, { fence, holder, leaseMs, accepted, mustStop, ttlMs }, nowMs)
}

function restore (state: LeaseState, request: LeaseRequest & { do: 'restore' }, nowMs: number): Step {
  const { fence, holder, leaseMs, accepted, ttlMs } = request
  // It was already restored.
  if (state.lease.untilMs > 0 && state.lease.fence === fence) return { outcome: 'ok', state }
  if (state.lease.untilMs > 0 || state.lease.fence >= fence) return { outcome: 'superseded', state }
  return grant(state, { fence, holder, leaseMs, accepted, mustStop: false, ttlMs }, nowMs)
}

type Grant = Omit<Lease, 'untilMs' | 'ttlMs'> & { ttlMs: number | undefined }

function grant (state: LeaseState, { ttlMs = state.lease.ttlMs, ...granted }: Grant, nowMs: number): Step {
  const lease = { ...granted, untilMs: nowMs + granted.leaseMs, ttlMs }
  return { outcome: 'ok', state: { ...state, lease }, news: 'resync' }
}

/** How long the topic is kept when idle, in ms; 0 for no limit. */
export function expiryOf ({ lease: { ttlMs } }: LeaseState, expireAfterMs: number): number {
  return ttlMs > 0 ? ttlMs : expireAfterMs
}

/** The remembered state of a topic that was forgotten: how long that is kept. */
export function forgottenState ({ lease: { ttlMs } }: LeaseState): LeaseState {
  return ttlMs > 0 ? { ...OPEN, lease: { ...NO_LEASE, ttlMs } } : OPEN
}

/** The current state: a topic whose lease has expired is closed. */
export function expireLease (state: LeaseState, nowMs: number): LeaseState {
  const { isClosed, lease } = state
  return !isClosed && lease.untilMs > 0 && lease.untilMs <= nowMs ? ended(state, 'lost') : state
}

/** The state after a call to `close()`. */
export function closeTopic (state: LeaseState): LeaseState {
  return state.isClosed ? state : ended(state, 'closed')
}

/** The state after a call to `delete()`: open, without a producer. */
export function reopenTopic ({ lease }: LeaseState): LeaseState {
  const { fence, ttlMs } = lease
  return { isClosed: false, reason: undefined, message: undefined, lease: { ...NO_LEASE, fence, ttlMs } }
}

function ended ({ lease }: LeaseState, reason: EndReason, message = ''): LeaseState {
  return { isClosed: true, reason, message: message === '' ? undefined : message, lease: { ...lease, untilMs: 0 } }
}

function renewed (lease: Lease, nowMs: number): Lease {
  return { ...lease, untilMs: nowMs + lease.leaseMs }
}

/** The lease with which a producer appends, and the number of events appended with it before. */
export interface AppendLease { readonly fence: number, readonly accepted: number }

/** What happens to an append: it is executed, was executed before, or is rejected. */
export type Admission = 'append' | 'repeat' | 'superseded' | 'closed'

export function admitAppend (state: LeaseState, given: AppendLease | undefined, count: number): Admission {
  if (given === undefined) return state.isClosed ? 'closed' : 'append'
  const { lease } = state
  // A repetition is recognised even if the topic was closed afterwards.
  if (given.fence === lease.fence && lease.accepted >= given.accepted + count) return 'repeat'
  if (state.isClosed) return 'closed'
  return lease.untilMs > 0 && given.fence === lease.fence ? 'append' : 'superseded'
}

/** The lease after an append of its holder. */
export function countAppend (lease: Lease, given: AppendLease | undefined, count: number, nowMs: number): Lease {
  return given ? { ...renewed(lease, nowMs), accepted: given.accepted + count } : lease
}

/** The reply to a request, from the state after it. */
export function replyOf (
  outcome: LeaseOutcome,
  { isClosed, reason, message, lease }: LeaseState,
  nowMs: number
): LeaseReply {
  const { fence, holder, leaseMs, untilMs, accepted, mustStop } = lease
  return {
    outcome,
    isClosed,
    reason,
    message,
    fence,
    holder,
    leaseMs,
    remainingMs: Math.max(0, untilMs - nowMs),
    accepted,
    mustStop
  }
}

/** The fields of `TopicEnds` that depend on this state. */
export function endingOf ({ isClosed, reason, message, lease: { untilMs } }: LeaseState, nowMs: number) {
  return { isClosed, reason, message, leaseMs: untilMs > 0 ? Math.max(0, untilMs - nowMs) : undefined }
}

/** The part of a `TopicListener` that concerns leases. */
interface LeaseListener { onClosed: () => void, onStop: (fence: number) => void, onResync: () => void }

/** Notifies the follower of the topic. */
export function tellLease (listener: LeaseListener, news: LeaseNews, fence: number): void {
  if (news === 'closed') listener.onClosed()
  else if (news === 'stop') listener.onStop(fence)
  else listener.onResync()
}

/** Throws the error for a rejected request. */
export function checkOutcome (topic: string, { outcome, holder, remainingMs }: LeaseReply): void {
  if (outcome === 'held') throw new errors.TOPICS_PRODUCER_EXISTS(topic, holder, remainingMs)
  if (outcome === 'closed') throw new errors.TOPICS_CLOSED(topic)
  if (outcome === 'superseded' || outcome === 'none') throw new errors.TOPICS_LEASE_LOST(topic)
}
