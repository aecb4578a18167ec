/**
 * The events that a stream sends of itself, between those that were published: their names and what their `data` is, as
 * JSON. An application must not use names that begin with `stream.` for its own events. See docs/protocol.md.
 */
export const IN_BAND = {
  /** The first one of a stream of topics, without data; its id is the cursor from which the stream goes on. */
  open: 'stream.open',
  /** Events of a topic are missing here. */
  gap: 'stream.gap',
  /** A topic that was closed is read to its end, or the whole stream is over for good. */
  end: 'stream.end',
  /** The source or the handler failed; the stream ends after it. */
  error: 'stream.error',
  /** The grant of the stream ends soon. */
  expiring: 'stream.expiring',
  /** The grant has ended; the stream ends after it. */
  expired: 'stream.expired'
} as const

/** Why a client missed something. */
export type GapReason = 'trimmed' | 'fork' | 'unknown' | 'expired'

/** What a client is told in band when its cursor cannot be continued exactly. */
export interface Gap {
  topic: string
  reason: GapReason
  /** The client's position, as it stood; null when it could not be read. */
  after: string | null
  /** Id of the first event that follows; null when it is not known yet. */
  resumedAt: string | null
  /** How many events are gone, where the log can tell. */
  missed?: number
}

/** What a client receives when the source fails after the first byte. */
export interface ErrorReport { statusCode: number, code?: string, error: string, message: string }

/** The data of each in-band event, parsed; `stream.open` has an empty text. */
export interface InBandData {
  [IN_BAND.open]: ''
  [IN_BAND.gap]: Gap
  /** `reason` and `message` are those of the topic's end; without a topic it is the end of a stream with `final`. */
  [IN_BAND.end]: { topic?: string, reason?: string | undefined, message?: string | undefined }
  [IN_BAND.error]: ErrorReport
  /** Seconds until the end. */
  [IN_BAND.expiring]: { expiresIn: number }
  [IN_BAND.expired]: Record<string, never>
}

/** The data of one event as its text. */
export function inBandData<K extends keyof InBandData> (name: K, data: InBandData[K]): string {
  return JSON.stringify(data)
}
