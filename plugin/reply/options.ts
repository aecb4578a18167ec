import { errors } from './errors.ts'
import { IN_BAND } from '../common/in-band.ts'
import {
  checkOptions, integer, isBetween, isFunction, isObject, trueOrFalse, withoutRegisterOptions, withoutUndefined
} from '../common/option-check.ts'
import type { OptionCheck, OptionError } from '../common/option-check.ts'
import { show } from '../common/show.ts'
import { checkEventName, defaultSerializer, MAX_RETRY_MS } from './wire.ts'
import type { Serializer, WireEvent } from './wire.ts'
import type { DrainInit } from './stream/stream-drain.ts'
import type { SseStream } from './stream/sse-stream.ts'
import type { CloseReason } from './stream/stream-init.ts'
import type { SlowClientPolicy, StreamPolicy } from './stream/stream-policy.ts'
import { MAX_TIMER_MS } from '../common/timers.ts'

/** Options of a stream. A call overrides the route (`config.sse` or `sse`), and a route overrides the registration. */
export interface SseOptions {
  /** A comment is sent after this many ms without bytes. 0 turns heartbeats off. Default 15,000. */
  heartbeatMs?: number
  /** `retry:` sent at the start of every stream, in ms; `false` sends none. Default 3,000. */
  retryMs?: number | false
  /**
   * Maximum bytes buffered for one client; above it, `slowClient` applies. A single event may be larger. Default 1 MiB.
   */
  maxBufferedBytes?: number
  /**
   * `send()` waits while more bytes than this are buffered for the client. Default 64 KiB, or `maxBufferedBytes` if
   * that is less.
   */
  highWaterMarkBytes?: number
  /**
   * `'close'` ends the stream with reason `slow` (a resumable client loses nothing); `'drop'` skips the event. Default
   * `'close'`.
   */
  slowClient?: SlowClientPolicy
  /** The stream is ended after this many ms with reason `lifetime`. 0 means never. Default 0. */
  maxLifetimeMs?: number
  /**
   * Fraction by which each lifetime is shortened at random, so that clients do not reconnect at the same time. 0 to 1.
   * Default 0.1.
   */
  lifetimeJitter?: number
  /** Converts `data` to text. Not called for bytes. Default: strings unchanged, other values as JSON. */
  serializer?: Serializer
  /**
   * The end of the stream is final. EventSource reconnects after every end, so a finite source would run repeatedly.
   * With this option the stream ends with an event `stream.end`, and a client that reconnects with the id of that event
   * gets 204, after which it stops. Default false.
   */
  final?: boolean
  /** Respond with 406 to a client whose Accept header does not allow `text/event-stream`. Default true. */
  negotiate?: boolean
  /**
   * For clients that accept gzip, events from this many bytes are compressed; from an eighth of it where several
   * clients receive the same bytes, which are compressed once for all of them. Smaller ones are stored in the gzip
   * stream as they are. `false` compresses nothing. Default 1,024.
   */
  gzipMinBytes?: number | false
  /** Name of the event that reports an error after the first byte; `false` reports nothing. Default `stream.error`. */
  errorEvent?: string | false
  /** Called once when the source fails after the first byte. A returned event replaces the report. */
  onError?: ((error: unknown, stream: SseStream) => WireEvent | void) | undefined
  /** Called once when the stream has ended. */
  onClose?: ((reason: CloseReason, stream: SseStream) => void) | undefined
}

/** Options on a route: those of a stream, and JSON schemas for its events. */
export interface SseRouteOptions extends SseOptions {
  /**
   * JSON schema of `data` by event name (`message` for events without one), compiled by Fastify's serializer compiler.
   */
  events?: Record<string, unknown>
}

/** Options at registration: those of a stream, and what concerns the whole instance. */
export interface SsePluginOptions extends SseOptions {
  /** `app.close()` ends all streams within this many ms, and then destroys the remaining ones. Default 5,000. */
  drainMs?: number
  /**
   * Set it to true together with Fastify's `return503OnClosing: false`: clients that reconnect while the app is
   * closing are then asked to retry, so that none has to wait for the end of the drain. Default false.
   */
  answersWhileClosing?: boolean
}

/** All options with their defaults filled in. */
export type ResolvedOptions =
  & StreamPolicy
  & Required<Omit<SseOptions, 'onError' | 'onClose'>>
  & Pick<SseOptions, 'onError' | 'onClose'>

export const defaults: ResolvedOptions = {
  heartbeatMs: 15_000,
  retryMs: 3_000,
  maxBufferedBytes: 1024 * 1024,
  highWaterMarkBytes: 64 * 1024,
  slowClient: 'close',
  maxLifetimeMs: 0,
  lifetimeJitter: 0.1,
  serializer: defaultSerializer,
  final: false,
  negotiate: true,
  gzipMinBytes: 1024,
  errorEvent: IN_BAND.error
}

export const DEFAULT_DRAIN_MS = 5_000

/** One row per option: its allowed range in words, and the test. Shown in error messages and in docs/plugin.md. */
export const checks: Record<keyof SseOptions, OptionCheck> = {
  heartbeatMs: {
    range: `0 or an integer from 10 to ${MAX_TIMER_MS} (ms)`,
    ok: value => value === 0 || isBetween(value, 10, MAX_TIMER_MS)
  },
  retryMs: {
    range: `false or an integer from 0 to ${MAX_RETRY_MS} (ms)`,
    ok: value => value === false || isBetween(value, 0, MAX_RETRY_MS)
  },
  maxBufferedBytes: integer(1024, Number.MAX_SAFE_INTEGER, 'bytes'),
  highWaterMarkBytes: integer(1, Number.MAX_SAFE_INTEGER, 'bytes, at most maxBufferedBytes'),
  slowClient: { range: '"close" or "drop"', ok: value => value === 'close' || value === 'drop' },
  maxLifetimeMs: integer(0, MAX_TIMER_MS, 'ms'),
  lifetimeJitter: { range: 'a number from 0 to 1', ok: value => typeof value === 'number' && value >= 0 && value <= 1 },
  serializer: { range: 'a function', ok: isFunction },
  final: trueOrFalse,
  negotiate: trueOrFalse,
  gzipMinBytes: {
    range: `false or an integer from 1 to ${Number.MAX_SAFE_INTEGER} (bytes)`,
    ok: value => value === false || isBetween(value, 1, Number.MAX_SAFE_INTEGER)
  },
  errorEvent: { range: 'false or an event name', ok: value => value === false || isEventName(value) },
  onError: { range: 'a function', ok: isFunction },
  onClose: { range: 'a function', ok: isFunction }
}

const drainChecks: Record<keyof DrainInit, OptionCheck> = {
  drainMs: integer(0, MAX_TIMER_MS, 'ms'),
  answersWhileClosing: trueOrFalse
}
const eventsCheck: OptionCheck = {
  range: 'an object of JSON schemas by event name',
  ok: value => isObject(value) && Object.values(value).every(isObject) && Object.keys(value).every(isEventName)
}

/**
 * Combines options with a base and checks them once. Throws `FST_SSE_BAD_OPTION`, which names the option, its allowed
 * range and the value seen; `level` says where it was given.
 */
export function resolveOptions (level: string, base: ResolvedOptions, given: SseOptions): ResolvedOptions {
  if (!isObject(given)) throw new errors.FST_SSE_BAD_OPTION(level, 'options', 'an object', show(given))
  checkOptions(given, checks, badOption(level), ownOptions(level))
  const resolved = { ...base, ...withoutUndefined(given) }
  // If only a lower limit is given, the inherited high-water mark is reduced to it.
  if (given.highWaterMarkBytes === undefined) {
    resolved.highWaterMarkBytes = Math.min(base.highWaterMarkBytes, resolved.maxBufferedBytes)
  }
  if (resolved.highWaterMarkBytes > resolved.maxBufferedBytes) {
    throw new errors.FST_SSE_BAD_OPTION(
      level,
      'highWaterMarkBytes',
      `at most maxBufferedBytes (${resolved.maxBufferedBytes})`,
      resolved.highWaterMarkBytes
    )
  }
  return resolved
}

/** Separates the options of the drain from those of a stream. */
export function resolvePluginOptions (given: SsePluginOptions): { options: ResolvedOptions, drain: DrainInit } {
  const { drainMs = DEFAULT_DRAIN_MS, answersWhileClosing = false, ...rest } = withoutRegisterOptions(given)
  const drain = { drainMs, answersWhileClosing }
  checkOptions(drain, drainChecks, badOption('plugin'))
  return { options: resolveOptions('plugin', defaults, rest), drain }
}

/** Separates `events` from the other options of a route. */
export function resolveRouteOptions (
  level: string,
  base: ResolvedOptions,
  given: SseRouteOptions
): { options: ResolvedOptions, events: Record<string, unknown> } {
  if (!isObject(given)) throw new errors.FST_SSE_BAD_OPTION(level, 'sse', 'an object', show(given))
  const { events = {}, ...rest } = given as SseRouteOptions
  checkOptions({ events }, { events: eventsCheck }, badOption(level))
  return { options: resolveOptions(level, base, rest), events }
}

const badOption = (level: string): OptionError => (name, range, seen) =>
  new errors.FST_SSE_BAD_OPTION(level, name, range, seen)

/** Options that exist at only one level, and have already been separated. */
function ownOptions (level: string): string[] {
  if (level === 'plugin') return Object.keys(drainChecks)
  return level.startsWith('route') ? ['events'] : []
}

function isEventName (value: unknown): boolean {
  try {
    return checkEventName(value) !== ''
  } catch {
    return false
  }
}
