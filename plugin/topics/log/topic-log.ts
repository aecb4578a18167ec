import type { EventId } from '../event-id.ts'
import type { AppendLease, EndReason, LeaseReply, LeaseRequest } from './lease.ts'

/** An event as a publisher gives it, checked; data is text already. */
export interface NewEvent {
  readonly event: string | undefined
  readonly data: string
  readonly retry: number | undefined
}

/** An event as the log has it. */
export interface LogEntry extends NewEvent { readonly id: EventId }

/**
 * Both ends of a topic's log. A topic without any event so far has `first` undefined, `last` 0-0, `count` 0 and
 * `bornMs` 0.
 */
export interface TopicEnds {
  /** The oldest entry that is retained; undefined when none is. */
  readonly first: EventId | undefined
  /** The newest entry ever appended, retained or not; 0-0 when there was none. */
  readonly last: EventId
  /** Entries retained. */
  readonly count: number
  /** Unix ms of the topic's very first entry; 0 when there was none. A topic that was forgotten starts a new life. */
  readonly bornMs: number
  /** 1 ms after the last entry of the life before this one, where that is remembered; otherwise 0. */
  readonly forgottenMs: number
  /** A topic without appends for this many ms is forgotten; 0 when never. */
  readonly expireAfterMs: number
  /** The log's clock at this moment, in Unix ms. */
  readonly nowMs: number
  /** The topic was closed: it takes no more events. */
  readonly isClosed: boolean
  /** Why it was closed; undefined while it is open. */
  readonly reason?: EndReason | undefined
  /** What the producer said about its failure. */
  readonly message?: string | undefined
  /**
   * How long the lease of the topic's producer still runs, in ms; 0 when it has run out; undefined when there is no
   * producer.
   */
  readonly leaseMs?: number | undefined
  /**
   * Numbers that were skipped because a failover may have lost them: `from` and `to` count as neighbours. Oldest first.
   */
  readonly jumps: readonly Jump[]
}

/** After the entry `from` the next number is `to`; those between were perhaps used by a server that is gone. */
export interface Jump { readonly from: EventId, readonly to: number }

/** Where a cursor stands in a topic's log, read in one atomic step. */
export interface Location { readonly ends: TopicEnds, readonly exists: boolean }

/** A page of entries, oldest first. */
export interface PageLimit { readonly count: number, readonly bytes: number }

/** Told by a log about a followed topic. */
export interface TopicListener {
  /** New entries, oldest first. A log may repeat entries and, where a connection was lost, miss some. */
  onEntries: (entries: readonly LogEntry[]) => void
  /** The topic was closed. */
  onClosed: () => void
  /** Something may have been missed: compare with the log. */
  onDoubt: () => void
  /** The topic's producer was asked to stop; `fence` is that of its lease. */
  onStop: (fence: number) => void
}

export interface AppendOptions {
  /**
   * Names this append: a second one with the same key, by the same publisher and to the same topic, appends nothing.
   */
  idempotencyKey?: string | undefined
  /** Whose key it is; different publishers may use the same key. Without one, keys belong to the topic alone. */
  publisher?: string | undefined
  /**
   * The lease of the producer that appends; the append renews it. An append that was done before, as `accepted` tells,
   * is a repeat: nothing is appended, and `ids` is empty. Not together with `idempotencyKey`.
   */
  lease?: AppendLease | undefined
}

/**
 * Where to begin without a cursor: with the last entries, this many, or with those of the last `withinMs` by the log's
 * clock.
 */
export type SeekStart = { last: number } | { withinMs: number }

/** Where a log tells of trouble; a part of Fastify's logger. */
export interface LogLogger {
  info: (details: object, message: string) => void
  warn: (details: object, message: string) => void
  error: (details: object, message: string) => void
}

/** What an append did. */
export interface Appended {
  readonly ids: readonly EventId[]
  /** True when the idempotency key was used before: these are the ids of that time, and nothing was appended. */
  readonly isRepeat: boolean
}

/** How the connections of a log on the network are. */
export interface LogHealth {
  /** Commands are taken, and messages arrive. */
  isHealthy: boolean
  /** Ms since a message of our own was last heard back, the longest of all connections; Infinity before the start. */
  canaryAgeMs: number
  /** Connections that were lost and are back, so far. */
  reconnects: number
  /** Message connections that were deaf or silent and were replaced, so far. */
  replaced: number
  /** Why it is not healthy, as Redis or the network said it; absent while all connections work. */
  problem?: string
}

/**
 * A durable, ordered log per topic. One contract for every implementation, and one suite of tests over all of them.
 * Topics come into being by use. Every method rejects with `TOPICS_LOG_UNAVAILABLE` when the log cannot be reached.
 */
export interface TopicLog {
  /** How its connections are, for readiness and metrics; undefined for a log that has none. */
  readonly health?: LogHealth
  /**
   * Connects, or opens the files. Called once before anything else; a log on the network that is away is waited for
   * later.
   */
  start: (logger: LogLogger) => Promise<void>
  /**
   * Appends events, all or none, in order and without others between them. Settles when they are as durable as the log
   * makes them. Rejects with `TOPICS_CLOSED` for a closed topic, and with `TOPICS_LEASE_LOST` for a lease that is no
   * longer the topic's. A repeated `idempotencyKey` appends nothing and returns the first ids; when the events are not
   * those of the first time, it rejects with `TOPICS_IDEMPOTENCY_KEY_REUSED`.
   */
  append: (topic: string, events: readonly NewEvent[], options?: AppendOptions) => Promise<Appended>
  /** Entries after a position, oldest first, bounded by count and by bytes of data; at least one if there is any. */
  read: (topic: string, after: EventId, limit: PageLimit) => Promise<LogEntry[]>
  /** Both ends, and whether the entry with this very id is retained. */
  locate: (topic: string, id: EventId) => Promise<Location>
  /**
   * The position just before the entries to begin with; the end of the topic when there are none. It is the id of the
   * entry before them where that one is retained, so that a client that comes back with it is recognised. Its cost does
   * not depend on how many entries follow.
   */
  seek: (topic: string, start: SeekStart) => Promise<EventId>
  /**
   * Begins to tell a listener of this topic; everything appended after the returned ends is told, perhaps already
   * before this settles. One listener per topic.
   */
  follow: (topic: string, listener: TopicListener) => Promise<TopicEnds>
  /** Stops telling this listener. Ignored where another one follows the topic by now. */
  unfollow: (topic: string, listener: TopicListener) => Promise<void>
  /**
   * Closes a topic for good: it takes no more events, and its producer loses its lease. Closing twice is the same as
   * once.
   */
  close: (topic: string) => Promise<void>
  /**
   * Takes, renews, ends or looks at the lease of the topic's producer, in one atomic step. A refusal is in the reply.
   */
  lease: (topic: string, request: LeaseRequest) => Promise<LeaseReply>
  /** Drops all entries of a topic and reopens it. Its numbers go on, so that no cursor ever means another event. */
  delete: (topic: string) => Promise<void>
  /** Lets go of connections and files. Everything acknowledged is kept, where the log keeps anything. */
  stop: () => Promise<void>
}
