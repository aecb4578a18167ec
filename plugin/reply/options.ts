import { errors } from './errors.ts'
import { IN_BAND } from '../common/in-band.ts'
import {
  checkOptions, integer, isBetween, isFunction, isObject, trueOrFalse, withoutUndefined
} from '../common/option-check.ts'
import type { OptionCheck, OptionError } from '../common/option-check.ts'
import { show } from '../common/show.ts'
import { checkEventName, defaultSerializer, MAX_RETRY_MS } from './wire.ts'
import type { Serializer, WireEvent } from './wire.ts'
import type { DrainInit } from './stream-registry.ts'
import type { CloseReason, SseStream } from './stream.ts'
import type { SlowClientPolicy, StreamPolicy } from './stream-policy.ts'
import { MAX_TIMER_MS } from '../common/timers.ts'

/** Options of a stream; given at registration, on a route (`config.sse` or `sse`) or to one call, the nearest wins. */
export interface SseOptions {
  /** A comment is sent after this many ms without bytes. 0 turns heartbeats off. Default 15,000. */
  heartbeatMs?: number
  /** `retry:` sent at the start of every stream, in ms; `false` sends none. Default 3,000. */
  retryMs?: number | false
  /**
   * Bytes that may wait for one client; beyond them `slowClient` applies. One event alone may be larger. Default 1 MiB.
   */
  maxBufferedBytes?: number
  /**
   * `send()` waits for room while more bytes than this wait for the client. Default 64 KiB, or `maxBufferedBytes` where
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
   * Fraction by which each lifetime is shortened at random, so that clients do not return together. 0 to 1. Default
   * 0.1.
   */
  lifetimeJitter?: number
  /** Turns `data` into text. Not called for bytes. Default: strings as they are, the rest as JSON. */
  serializer?: Serializer
  /**
   * The end of the stream is final. EventSource comes back after every end and would have a finite source run again and
   * again; with this option the stream ends with an event `stream.end`, and a client that comes back with the id of
   * that event gets 204, which makes it stop. Default false.
   */
  final?: boolean
  /** Answer 406 to a client whose Accept header refuses `text/event-stream`. Default true. */
  negotiate?: boolean
  /** Name of the event that reports an error after the first byte; `false` reports nothing. Default `stream.error`. */
  errorEvent?: string | false
  /** Called once when the source fails after the first byte. A returned event replaces the report. */
  onError?: ((error: unknown, stream: SseStream) => WireEvent | void) | undefined
  /** Called once when the stream is over. */
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
  /** `app.close()` ends all streams within this many ms, and destroys what is left then. Default 5,000. */
  drainMs?: number
  /**
   * Set it to true together with Fastify's `return503OnClosing: false`: clients that come back while the app still
   * closes are then asked to retry, so that none has to wait for the end of the drain. Default false.
   */
  answersWhileClosing?: boolean
}

/** Options with every default filled in. */
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
 * Lays options over a base and checks them once.
 * Throws `FST_SSE_BAD_OPTION` naming the option, its allowed range and the value seen; `level` says where it was given.
 */
export function resolveOptions (level: string, base: ResolvedOptions, given: SseOptions): ResolvedOptions {
  if (!isObject(given)) throw new errors.FST_SSE_BAD_OPTION(level, 'options', 'an object', show(given))
  checkOptions(given, checks, badOption(level), ownOptions(level))
  const resolved = { ...base, ...withoutUndefined(given) }
  // A lower bound given alone takes the inherited mark down with it.
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

/** Takes the options of the drain off those given at registration. */
export function resolvePluginOptions (given: SsePluginOptions): { options: ResolvedOptions, drain: DrainInit } {
  const { drainMs = DEFAULT_DRAIN_MS, answersWhileClosing = false, ...rest } = given
  const drain = { drainMs, answersWhileClosing }
  checkOptions(drain, drainChecks, badOption('plugin'))
  return { options: resolveOptions('plugin', defaults, rest), drain }
}

/** Takes `events` off the options given on a route. */
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

/** Options that exist at one level only, and were taken off before. */
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
