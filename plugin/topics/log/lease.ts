import { errors } from '../errors.ts'

/**
 * Why a topic takes no more events: `closed` by a call; by its producer because it was `done`, `stopped` on request or
 * `failed`; or `lost`, because its producer was not heard from for as long as its lease runs.
 */
export type EndReason = 'closed' | 'done' | 'stopped' | 'failed' | 'lost'

/** The end of a topic: why, and what its producer said about a failure. */
export interface TopicEnd { readonly reason: EndReason, readonly message?: string }

/** The lease of a topic's producer, as a log stores it with the topic. */
export interface Lease {
  /** Identifies the lease: a number that grows with each lease of the topic. 0 when there was none. */
  fence: number
  /** Who holds it, for people; empty when nobody does. */
  holder: string
  /** How long the lease runs after each append and renewal, in ms. */
  leaseMs: number
  /** When it runs out, by the log's clock, in Unix ms; 0 when nobody holds it. */
  untilMs: number
  /** Events appended with this lease. */
  accepted: number
  /** True when somebody asked the producer to stop. */
  mustStop: boolean
}

/** The part of a topic's state that leases change. */
export interface LeaseState {
  readonly isClosed: boolean
  /** Why it was closed; undefined while it is open. */
  readonly reason: EndReason | undefined
  /** What the producer says about its failure. */
  readonly message: string | undefined
  readonly lease: Lease
}

/** What a producer, or somebody who wants something of it, asks of a topic. */
export type LeaseRequest =
  /** Become the topic's producer. `takeOver` ends the lease of another one. */
  | { do: 'take', holder: string, leaseMs: number, takeOver: boolean }
  | { do: 'renew', fence: number }
  /** Close the topic as its producer. */
  | { do: 'end', fence: number, reason: EndReason, message: string }
  /** Ask the producer to stop. With a `fence` only that one. */
  | { do: 'stop', fence: number | undefined }
  /** Only look. Closes the topic, as any request does, when the lease has run out. */
  | { do: 'look' }

/**
 * How a request went: `held` by another producer; `superseded`, because the lease is no longer the topic's; `none`, as
 * nobody holds a lease; or the topic is `closed`.
 */
export type LeaseOutcome = 'ok' | 'held' | 'superseded' | 'closed' | 'none'

/** The answer to a request, with the state after it. */
export interface LeaseReply {
  readonly outcome: LeaseOutcome
  readonly isClosed: boolean
  readonly reason: EndReason | undefined
  readonly message: string | undefined
  readonly fence: number
  readonly holder: string
  /** How long the lease still runs, in ms; 0 when nobody holds one. */
  readonly remainingMs: number
  readonly accepted: number
  readonly mustStop: boolean
}

/** What followers of the topic are told of a request. */
export type LeaseNews = 'closed' | 'doubt' | 'stop'

export const NO_LEASE: Lease = { fence: 0, holder: '', leaseMs: 0, untilMs: 0, accepted: 0, mustStop: false }

/** The state of a topic that nobody has written to. */
export const OPEN: LeaseState = { isClosed: false, reason: undefined, message: undefined, lease: NO_LEASE }

interface Step { outcome: LeaseOutcome, state: LeaseState, news?: LeaseNews }

/** What a request makes of a topic. `lease.lua` does the same in Redis. */
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
  if (lease.untilMs === 0) return { outcome: request.do === 'stop' ? 'none' : 'superseded', state }
  if (request.fence !== undefined && request.fence !== lease.fence) return { outcome: 'superseded', state }
  if (request.do === 'stop') {
    return { outcome: 'ok', state: { ...state, lease: { ...lease, mustStop: true } }, news: 'stop' }
  }
  if (request.do === 'renew') return { outcome: 'ok', state: { ...state, lease: renewed(lease, nowMs) } }
  return { outcome: 'ok', state: ended(state, request.reason, request.message), news: 'closed' }
}

function take (state: LeaseState, { holder, leaseMs, takeOver }: LeaseRequest & { do: 'take' }, nowMs: number): Step {
  if (state.lease.untilMs > 0 && !takeOver) return { outcome: 'held', state }
  // Also after the topic was forgotten, with its numbers, a new lease is never mistaken for an old one.
  const fence = Math.max(state.lease.fence + 1, nowMs)
  const lease = { fence, holder, leaseMs, untilMs: nowMs + leaseMs, accepted: 0, mustStop: false }
  return { outcome: 'ok', state: { ...state, lease }, news: 'doubt' }
}

/** The state at this moment: a topic whose lease has run out is closed. */
export function expireLease (state: LeaseState, nowMs: number): LeaseState {
  const { isClosed, lease } = state
  return !isClosed && lease.untilMs > 0 && lease.untilMs <= nowMs ? ended(state, 'lost') : state
}

/** The state after a call of `close()`. */
export function closeTopic (state: LeaseState): LeaseState {
  return state.isClosed ? state : ended(state, 'closed')
}

/** The state after a call of `delete()`: open, and without a producer. */
export function reopenTopic ({ lease }: LeaseState): LeaseState {
  return { isClosed: false, reason: undefined, message: undefined, lease: { ...NO_LEASE, fence: lease.fence } }
}

function ended ({ lease }: LeaseState, reason: EndReason, message = ''): LeaseState {
  return { isClosed: true, reason, message: message === '' ? undefined : message, lease: { ...lease, untilMs: 0 } }
}

function renewed (lease: Lease, nowMs: number): Lease {
  return { ...lease, untilMs: nowMs + lease.leaseMs }
}

/** Names the lease with which a producer appends, and how many events were appended with it before. */
export interface AppendLease { readonly fence: number, readonly accepted: number }

/** What becomes of an append: it is done, was done before, or is refused. */
export type Admission = 'append' | 'repeat' | 'superseded' | 'closed'

export function admitAppend (state: LeaseState, given: AppendLease | undefined, count: number): Admission {
  if (given === undefined) return state.isClosed ? 'closed' : 'append'
  const { lease } = state
  // A repeat counts also when the topic was closed after it.
  if (given.fence === lease.fence && lease.accepted >= given.accepted + count) return 'repeat'
  if (state.isClosed) return 'closed'
  return lease.untilMs > 0 && given.fence === lease.fence ? 'append' : 'superseded'
}

/** The lease after an append of its holder. */
export function countAppend (lease: Lease, given: AppendLease | undefined, count: number, nowMs: number): Lease {
  return given ? { ...renewed(lease, nowMs), accepted: given.accepted + count } : lease
}

/** The answer to a request, from the state after it. */
export function replyOf (
  outcome: LeaseOutcome,
  { isClosed, reason, message, lease }: LeaseState,
  nowMs: number
): LeaseReply {
  const { fence, holder, untilMs, accepted, mustStop } = lease
  return {
    outcome,
    isClosed,
    reason,
    message,
    fence,
    holder,
    remainingMs: Math.max(0, untilMs - nowMs),
    accepted,
    mustStop
  }
}

/** What `TopicEnds` tells of a state. */
export function endingOf ({ isClosed, reason, message, lease: { untilMs } }: LeaseState, nowMs: number) {
  return { isClosed, reason, message, leaseMs: untilMs > 0 ? Math.max(0, untilMs - nowMs) : undefined }
}

/** What of a `TopicListener` hears of leases. */
interface LeaseListener { onClosed: () => void, onStop: (fence: number) => void, onDoubt: () => void }

/** Tells the one who follows the topic. */
export function tellLease (listener: LeaseListener, news: LeaseNews, fence: number): void {
  if (news === 'closed') listener.onClosed()
  else if (news === 'stop') listener.onStop(fence)
  else listener.onDoubt()
}

/** Throws the error for a request that was refused. */
export function checkOutcome (topic: string, { outcome, holder, remainingMs }: LeaseReply): void {
  if (outcome === 'held') throw new errors.TOPICS_PRODUCER_EXISTS(topic, holder, remainingMs)
  if (outcome === 'closed') throw new errors.TOPICS_CLOSED(topic)
  if (outcome === 'superseded' || outcome === 'none') throw new errors.TOPICS_LEASE_LOST(topic)
}
