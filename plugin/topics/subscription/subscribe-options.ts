import { checkOptions, integer, isBetween, oneOf, trueOrFalse } from '../../common/option-check.ts'
import type { OptionCheck } from '../../common/option-check.ts'
import { show } from '../../common/show.ts'
import type { Frame } from '../../reply/frame.ts'
import { has } from '../../reply/source-kind.ts'
import { badStart, errors } from '../errors.ts'
import { encodeBody } from '../feed/frames.ts'
import { checkEvent } from '../new-event.ts'
import type { PublishEvent } from '../new-event.ts'

/** Options of a subscription: how it is streamed, and where it starts for a client without a cursor. */
export interface SubscribeOptions {
  /**
   * Cursor to continue from if the client sends no `Last-Event-ID`. If there are several, such as a repeated query
   * parameter, the last valid one counts.
   */
  after?: string | readonly string[] | undefined
  /** Start with the events of the last `sinceMs` ms. Cannot be combined with `last`. */
  sinceMs?: number | undefined
  /** Start with the last `last` events of each topic. Cannot be combined with `sinceMs`. */
  last?: number | undefined
  /** Where to continue after a gap: with the earliest retained event, or from now. Default `earliest`. */
  afterGap?: 'earliest' | 'now' | undefined
  /**
   * True to write each event's data as JSON `{"topic","id","event","data"}`, with the event's own id and its data as
   * text, for clients of several topics that need to know the topic of each event. Default false.
   */
  envelope?: boolean | undefined
  /**
   * Continue after the event with this number, the `n` of its id `<ms>-<n>`, from 0, if the client sends no
   * `Last-Event-ID`. Only with a single topic, and without `after`, `sinceMs` and `last`.
   */
  startingAfter?: number | undefined
  /**
   * `none` sends no events named `stream.*`, for clients of other protocols; see `SseStream.control`. If events are
   * missing, the response is the error 410 `TOPICS_GAP` before the first byte, and the stream is aborted after it; a
   * client for which there is nothing, now or later, gets 204. Default `in-band`.
   */
  control?: 'in-band' | 'none' | undefined
  /**
   * Sent without an id after the last event if all topics ended as `done`, such as `{ data: '[DONE]' }`. Only with
   * `control: 'none'`. Default none.
   */
  final?: PublishEvent | undefined
  /** Ends the streams of the subscription and the loops over it when it is aborted. Default none. */
  signal?: AbortSignal | undefined
}

/** Upper bound of `last`. */
export const MAX_LAST = 10_000
const MAX_SINCE_MS = 366 * 24 * 60 * 60 * 1000

type Name = keyof SubscribeOptions

/** A cursor, or several. */
export const cursorCheck: OptionCheck = {
  range: 'a cursor',
  ok: value => [value].flat().every(each => typeof each === 'string')
}

/** One row per option: its allowed range in words, and the test. */
const CHECKS: Readonly<Record<Name, OptionCheck>> = {
  after: cursorCheck,
  sinceMs: { range: `1 ms to ${MAX_SINCE_MS} ms`, ok: value => isBetween(value, 1, MAX_SINCE_MS) },
  last: integer(0, MAX_LAST),
  afterGap: oneOf('earliest', 'now'),
  envelope: trueOrFalse,
  startingAfter: integer(0, Number.MAX_SAFE_INTEGER),
  control: oneOf('in-band', 'none'),
  signal: { range: 'an AbortSignal', ok: isAbortSignal },
  // Checked together with `control`.
  final: { range: 'an event', ok: () => true }
}

/** Messages use the name of the query parameter of the service. */
const nameOf = (name: string): string => name === 'sinceMs' ? 'since' : name

/** Options that exclude each other: the first one, and those it cannot be combined with. */
const CONFLICTS: ReadonlyArray<readonly [name: Name, others: readonly Name[]]> = [
  ['last', ['sinceMs']],
  ['startingAfter', ['after', 'last', 'sinceMs']]
]

/**
 * Throws `TOPICS_BAD_START`, which names the option, its range and the value seen, or `TOPICS_BAD_EVENT` for `final`.
 */
export function checkSubscribeOptions (options: SubscribeOptions): SubscribeOptions {
  // A misspelt option would lose events: without `last` a client starts now.
  checkOptions(options, CHECKS, (name, ...seen) => badStart(nameOf(name), ...seen))
  for (const [name, others] of CONFLICTS) {
    const other = others.find(other => options[other] !== undefined)
    if (options[name] !== undefined && other !== undefined) {
      throw new errors.TOPICS_BAD_START(name, `given without "${nameOf(other)}"`, 'both')
    }
  }
  checkControl(options)
  return options
}

function checkControl ({ control, envelope, final }: SubscribeOptions): void {
  if (control === 'none') {
    if (envelope) throw new errors.TOPICS_BAD_START('envelope', 'given without control "none"', 'both')
    if (final !== undefined) finalFrame(final)
  } else if (final !== undefined) {
    throw new errors.TOPICS_BAD_START('final', 'given together with control "none"', show(final))
  }
}

/** The event `final` as it is sent. Throws `TOPICS_BAD_EVENT`. */
export function finalFrame (final: PublishEvent): Frame {
  return { bytes: encodeBody(checkEvent(final, ' "final"', { maxEventBytes: Infinity })), events: 0 }
}

/** `startingAfter` refers to a single topic. Throws `TOPICS_BAD_START`. */
export function checkStartTopics (topics: readonly string[], { startingAfter }: SubscribeOptions): readonly string[] {
  if (startingAfter === undefined || topics.length === 1) return topics
  throw new errors.TOPICS_BAD_START('startingAfter', 'given for a single topic', `${topics.length} topics`)
}

/** Tested by its shape, because a signal may come from another realm or a polyfill. */
export function isAbortSignal (value: unknown): boolean {
  return has(value, 'addEventListener', 'removeEventListener') && 'aborted' in value
}
