import { hostname } from 'node:os'
import {
  checkOptions, integer, isBetween, isFunction, trueOrFalse, withoutUndefined
} from '../../common/option-check.ts'
import type { OptionCheck } from '../../common/option-check.ts'
import { show } from '../../common/show.ts'
import { badOption } from '../errors.ts'

/** Options of `app.topics.produce()`. */
export interface ProduceOptions {
  /** Duration of the lease, which the producer renews, in ms, from 100 to 3,600,000. Default 30,000. */
  leaseMs?: number | undefined
  /**
   * How long the first event of a batch waits for others, in ms, up to 10,000; with 0 it only waits while the previous
   * batch is written. Default 20.
   */
  batchMs?: number | undefined
  /** Maximum number of events appended together, from 1 to 1,000. Default 100. */
  batchEvents?: number | undefined
  /**
   * Identifies the producer across processes: 1 to 100 characters of A-Z a-z 0-9 . _ ~ -. While its lease is valid, a
   * later call with the same id continues it, in whichever process, and the count of its events continues. Ids belong
   * to their topic. Default none: the producer cannot be continued.
   */
  producerId?: string | undefined
  /**
   * Only with `producerId`: the number of the producer's events before the first one of the source. Events of the
   * source that the topic already has are skipped. Rejects with `TOPICS_EVENTS_MISSING` if the topic has fewer. Default
   * 0: the source is complete.
   */
  after?: number | undefined
  /**
   * How long the topic and its events are kept after the last request of its producer, in ms, instead of
   * `expireAfterMs` of the retention: from `leaseMs` to 366 days. Because the lease is renewed while the producer is
   * running, this is measured from its end. It stays with the topic until another producer changes it, or the topic is
   * forgotten. Default: the retention's.
   */
  ttlMs?: number | undefined
  /**
   * Called after each append that the log acknowledged, and at the start of a producer that is continued, with the
   * number of this producer's events in the topic. An exception is logged.
   */
  onAppend?: ((accepted: number) => void) | undefined
  /** Ends the lease of another producer of the topic instead of rejecting. Default false. */
  takeOver?: boolean | undefined
  /**
   * Names the producer in errors and in `app.topics.info()`: 1 to 128 printable ASCII characters, not beginning with
   * `id=`. Default `id=` and the `producerId`, or else host name and process id.
   */
  holder?: string | undefined
  /** Stops the producer when it aborts. Default none. */
  signal?: AbortSignal | undefined
  /**
   * Returns the message for readers when the source fails. Default: the message of an error with a 4xx `statusCode`,
   * otherwise the name of its status, as in Fastify's error handler.
   */
  describeError?: ((error: unknown) => string) | undefined
}

type WithDefault = 'leaseMs' | 'batchMs' | 'batchEvents' | 'after' | 'takeOver' | 'holder'
type Checked = { [K in WithDefault]: NonNullable<ProduceOptions[K]> }
/** The options with defaults for those that were not given. */
export type CheckedProduceOptions = Omit<ProduceOptions, WithDefault> & Checked

const MAX_TTL_MS = 366 * 24 * 60 * 60 * 1000
const DEFAULTS = { leaseMs: 30_000, batchMs: 20, batchEvents: 100, after: 0, takeOver: false }
const ID_PREFIX = 'id='
const HOLDER = /^(?!id=)[\x20-\x7e]{1,128}$/
/** The allowed producer ids, as a regular expression. */
export const PRODUCER_ID_PATTERN = '^[A-Za-z0-9._~-]{1,100}$'
const PRODUCER_ID = new RegExp(PRODUCER_ID_PATTERN)

/** The id of the producer that holds a lease; null if it has none. */
export function producerIdOf (holder: string): string | null {
  return holder.startsWith(ID_PREFIX) ? holder.slice(ID_PREFIX.length) : null
}

const CHECKS: Readonly<Record<keyof ProduceOptions, OptionCheck>> = {
  leaseMs: integer(100, 3_600_000),
  batchMs: integer(0, 10_000),
  batchEvents: integer(1, 1_000),
  after: integer(0, Number.MAX_SAFE_INTEGER),
  producerId: { range: '1 to 100 characters of A-Z a-z 0-9 . _ ~ -', ok: value => matches(PRODUCER_ID, value) },
  ttlMs: { range: `an integer from leaseMs to ${MAX_TTL_MS}`, ok: Number.isInteger },
  onAppend: { range: 'a function', ok: isFunction },
  takeOver: trueOrFalse,
  holder: { range: '1 to 128 printable ASCII', ok: value => matches(HOLDER, value) },
  signal: { range: 'an AbortSignal', ok: value => isFunction((value as Partial<AbortSignal>)?.addEventListener) },
  describeError: { range: 'a function', ok: isFunction }
}

/** Throws `TOPICS_BAD_OPTION`. */
export function checkProduceOptions (given: ProduceOptions): CheckedProduceOptions {
  if (typeof given !== 'object' || given === null) throw badOption('options', 'an object', show(given))
  checkOptions(given, CHECKS, badOption)
  const options = { ...DEFAULTS, holder: defaultHolder(), ...withoutUndefined(given) } as CheckedProduceOptions
  const { producerId, leaseMs, ttlMs, after } = options
  if (producerId !== undefined && given.holder !== undefined) {
    throw badOption('holder', 'absent with a producerId', show(given.holder))
  }
  if (producerId === undefined && after > 0) throw badOption('after', '0 without a producerId', show(after))
  if (ttlMs !== undefined && !isBetween(ttlMs, leaseMs, MAX_TTL_MS)) {
    throw badOption('ttlMs', `an integer from leaseMs (${leaseMs}) to ${MAX_TTL_MS}`, show(ttlMs))
  }
  return producerId === undefined ? options : { ...options, holder: `${ID_PREFIX}${producerId}` }
}

function matches (pattern: RegExp, value: unknown): boolean {
  return typeof value === 'string' && pattern.test(value)
}

function defaultHolder (): string {
  return `${hostname()}:${process.pid}`.replace(/[^\x20-\x7e]/g, '?').slice(-128)
}
