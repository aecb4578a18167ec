import type { Gap } from '../../common/in-band.ts'
import type { Frame, FrameSink } from '../../reply/frame.ts'
import type { SseStream } from '../../reply/stream/sse-stream.ts'
import { errors } from '../errors.ts'
import { endsFrame, gapFrame, joinFrames, openFrame } from '../feed/frames.ts'
import type { EndReason, TopicEnd } from '../log/lease.ts'

/** The topics that have ended, each with its end. */
export type Ends = ReadonlyArray<readonly [topic: string, end: TopicEnd]>

/** How a reader reports changes of the stream itself, in addition to the events of its topics. */
export interface Control {
  /** The first frame, with the gaps at the start; undefined if nothing is sent. */
  open: (gaps: readonly Gap[], cursor: string) => Frame | undefined
  /** Throws if a gap cannot be reported. */
  gap: (gap: Gap, cursor: string) => Frame
  /** Topics that were closed before the reader joined; undefined if nothing is sent. */
  ends: (ends: Ends, cursor: string) => Frame | undefined
  /** Ends the stream: all topics have ended, in these ways. */
  finish: (ends: Iterable<TopicEnd>) => void
}

/** Reports everything with events named `stream.*`. */
export class InBandControl implements Control {
  readonly #sink: FrameSink

  constructor (sink: FrameSink) {
    this.#sink = sink
  }

  open (gaps: readonly Gap[], cursor: string): Frame {
    return gaps.length === 0 ? openFrame(cursor) : openWithGaps(gaps, cursor)
  }

  gap (gap: Gap, cursor: string): Frame { return gapFrame(gap, cursor) }
  ends (ends: Ends, cursor: string): Frame { return endsFrame(ends, cursor) }
  finish (): void { this.#sink.end() }
}

/** With gaps, the client keeps its own cursor until it has received all of them. */
function openWithGaps (gaps: readonly Gap[], cursor: string): Frame {
  const told = gaps.map((gap, at) => gapFrame(gap, at === gaps.length - 1 ? cursor : undefined))
  return joinFrames([openFrame(undefined), ...told])
}

/** Reasons after which the events that were read are incomplete. */
const INCOMPLETE: ReadonlySet<EndReason> = new Set(['failed', 'lost'])

/**
 * Sends events only. A gap throws `TOPICS_GAP`, which is the response 410 before the first byte and aborts the stream
 * after it. When all topics have ended, the stream is also aborted if one of them is incomplete; otherwise it ends,
 * after the frame `last` if all of them were `done`.
 */
export function noControl (stream: SseStream, last: Frame | undefined): Control {
  return {
    // Gaps at the start were answered with 410 before this is called.
    open: () => undefined,
    gap: ({ topic, reason }) => { throw new errors.TOPICS_GAP(topic, reason) },
    ends: () => undefined,
    finish: ends => {
      const reasons = Array.from(ends, ({ reason }) => reason)
      if (reasons.some(reason => INCOMPLETE.has(reason))) stream.breakOff()
      else if (last !== undefined && reasons.every(reason => reason === 'done')) stream.endWith(last)
      else stream.end()
    }
  }
}
