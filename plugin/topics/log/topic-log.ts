import type { EventId } from '../ids/event-id.ts'
import type { AppendLease, EndReason, LeaseReply, LeaseRequest } from './lease.ts'

/** A checked event to publish; data is already text. */
export interface NewEvent {
  readonly event: string | undefined
  readonly data: string
  readonly retry: number | undefined
}

/** A stored event. */
export interface LogEntry extends NewEvent { readonly id: EventId }

/**
 * Both ends of a topic's log. For a topic that never had an event, `first` is undefined, `last` 0-0, `count` 0 and
 * `bornMs` 0.
 */
export interface TopicEnds {
  /** The oldest retained entry; undefined if there is none. */
  readonly first: EventId | undefined
  /** The newest entry ever appended, retained or not; 0-0 if there was none. */
  readonly last: EventId
  /** Number of retained entries. */
  readonly count: number
  /** Unix ms of the topic's very first entry; 0 if there was none. A forgotten topic starts a new life. */
  readonly bornMs: number
  /** 1 ms after the last entry of the previous life, if that is remembered; otherwise 0. */
  readonly forgottenMs: number
  /** A topic without appends for this many ms is forgotten; 0 means never. */
  readonly expireAfterMs: number
  /** The current time of the log's clock, in Unix ms. */
  readonly nowMs: number
  /** True if the topic was closed: it accepts no more events. */
  readonly isClosed: boolean
  /** Why it was closed; undefined while it is open. */
  readonly reason?: EndReason | undefined
  /** The producer's message about its failure. */
  readonly message?: string | undefined
  /** The remaining time of the producer's lease in ms; 0 if it has expired; undefined if there is no producer. */
  readonly leaseMs?: number | undefined
  /**
   * Numbers that were skipped because a failover may have lost them: `from` and `to` count as neighbours. Oldest first.
   */
  readonly skips: readonly Skip[]
}

/** The number after the entry `from` is `to`; those in between may have been used by a server that is gone. */
export interface Skip { readonly from: EventId, readonly to: number }

/** Whether the entry of a cursor exists in a topic's log, and the log's ends, read in one atomic step. */
export interface Location { readonly ends: TopicEnds, readonly exists: boolean }

/** Limits of a page of entries; an entry has the bytes of its name and its data, and 32 more. */
export interface PageLimit { readonly count: number, readonly bytes: number }

/** Receives a log's notifications about a followed topic. */
export interface TopicListener {
  /** New entries, oldest first. A log may repeat entries and, if a connection was lost, miss some. */
  onEntries: (entries: readonly LogEntry[]) => void
  /** The topic was closed. */
  onClosed: () => void
  /** Something may have been missed: the listener must compare with the log. */
  onResync: () => void
  /** The topic's producer was asked to stop; `fence` identifies its lease. */
  onStop: (fence: number) => void
}

export interface AppendOptions {
  /**
   * Identifies this append: another one with the same key, by the same publisher and to the same topic, appends
   * nothing.
   */
  idempotencyKey?: string | undefined
  /** The owner of the key; different publishers may use the same key. Without one, keys belong to the topic alone. */
  publisher?: string | undefined
  /**
   * The lease of the producer that appends; the append renews it. An append that was executed before, according to
   * `accepted`, is a repetition: nothing is appended, and `ids` is empty. Cannot be combined with `idempotencyKey`.
   */
  lease?: AppendLease | undefined
}

/**
 * Where to start without a cursor: with this many of the last entries, or with those of the last `withinMs` by the
 * log's clock.
 */
export type SeekStart = { last: number } | { withinMs: number }

/** The part of Fastify's logger to which a log reports problems. */
export interface LogLogger {
  info: (details: object, message: string) => void
  warn: (details: object, message: string) => void
  error: (details: object, message: string) => void
}

/** The result of an append. */
export interface Appended {
  readonly ids: readonly EventId[]
  /** True if the idempotency key was used before: the ids are those of the first append, and nothing was appended. */
  readonly isRepeat: boolean
}

/** The state of the connections of a log on the network. */
export interface LogHealth {
  /** True if commands are accepted and messages arrive. */
  isHealthy: boolean
  /** Milliseconds since a probe was last received, the longest time of all connections; Infinity before the start. */
  canaryAgeMs: number
  /** Number of connections that were lost and restored. */
  reconnects: number
  /** Number of message connections that received or answered nothing and were replaced. */
  replaced: number
  /** Why it is not healthy, in the words of Redis or the network; absent while all connections work. */
  problem?: string
}

/** Options of `delete()`. */
export interface DeleteOptions {
  /**
   * True to delete a topic only if it is closed, in one atomic step: when several callers replace the content of a
   * topic at the same time, none of them deletes what another has started. Default false.
   */
  ifClosed?: boolean | undefined
}

/**
 * A durable, ordered log per topic. All implementations share one contract and one test suite. Topics are created by
 * use. Every method rejects with `TOPICS_LOG_UNAVAILABLE` if the log is unreachable.
 */
export interface TopicLog {
  /** The state of its connections, for readiness and metrics; undefined for a log without connections. */
  readonly health?: LogHealth | undefined
  /**
   * Connects, or opens the files. Called once before anything else; a log on the network that is unavailable then is
   * connected later.
   */
  start: (logger: LogLogger) => Promise<void>
  /**
   * Appends events, all or none, in order and without others between them. Settles when they are as durable as the log
   * makes them. Rejects with `TOPICS_CLOSED` for a closed topic, and with `TOPICS_LEASE_LOST` for a lease that is no
   * longer the topic's. A repeated `idempotencyKey` appends nothing and returns the first ids; if the events differ
   * from those of the first time, it rejects with `TOPICS_IDEMPOTENCY_KEY_REUSED`.
   */
  append: (topic: string, events: readonly NewEvent[], options?: AppendOptions) => Promise<Appended>
  /** Entries after a position, oldest first, limited by count and by bytes; at least one if there is any. */
  read: (topic: string, after: EventId, limit: PageLimit) => Promise<LogEntry[]>
  /** Both ends, and whether the entry with exactly this id is retained. */
  locate: (topic: string, id: EventId) => Promise<Location>
  /**
   * The position just before the first entry to send; the end of the topic if there is none. It is the id of the
   * preceding entry if that is retained, so that a client that resumes from it is recognised. The cost does not depend
   * on how many entries follow.
   */
  seek: (topic: string, start: SeekStart) => Promise<EventId>
  /**
   * Starts notifying a listener of this topic of everything appended after the returned ends, possibly even before this
   * settles. One listener per topic.
   */
  follow: (topic: string, listener: TopicListener) => Promise<TopicEnds>
  /** Stops notifying this listener. Does nothing if another one has replaced it. */
  unfollow: (topic: string, listener: TopicListener) => Promise<void>
  /**
   * Closes a topic permanently: it accepts no more events, and its producer loses its lease. Closing it again has no
   * effect.
   */
  close: (topic: string) => Promise<void>
  /**
   * Takes, renews, ends or reads the lease of the topic's producer, in one atomic step. A rejection is part of the
   * reply.
   */
  lease: (topic: string, request: LeaseRequest) => Promise<LeaseReply>
  /**
   * Deletes all entries of a topic and reopens it. Its numbers continue, so that a cursor never refers to a different
   * event. Resolves to false if nothing was deleted because of `ifClosed`, otherwise to true.
   */
  delete: (topic: string, options?: DeleteOptions) => Promise<boolean>
  /**
   * Closes connections and files. Acknowledged events are kept, if the log is durable at all. Also called after a start
   * that failed.
   */
  stop: () => Promise<void>
}
