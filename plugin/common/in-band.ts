/**
 * The events of the protocol itself, sent between published events: their names, and their `data` as JSON. Names that
 * begin with `stream.` are reserved: an application must not use them for its own events. See docs/protocol.md.
 */
export const IN_BAND = {
  /** The first event of a stream of topics. It has no data; its id is the cursor after which the stream continues. */
  open: 'stream.open',
  /** Events of a topic are missing at this point. */
  gap: 'stream.gap',
  /** A closed topic has been read to its end; without a topic, the end of the whole stream is final. */
  end: 'stream.end',
  /** The source or the handler failed; the stream ends after it. */
  error: 'stream.error',
  /** The grant of the stream expires soon. */
  expiring: 'stream.expiring',
  /** The grant has expired; the stream ends after it. */
  expired: 'stream.expired'
} as const

/** Why a client missed something. */
export type GapReason = 'trimmed' | 'fork' | 'unknown' | 'expired'

/** Data of `stream.gap`, sent when a client cannot continue exactly after its cursor. */
export interface Gap {
  topic: string
  reason: GapReason
  /** The client's position as it was sent; null if it was invalid. */
  after: string | null
  /** Id of the first event that follows; null when it is not known yet. */
  resumedAt: string | null
  /** Number of missing events, if the log knows it. */
  missed?: number
}

/** Data of `stream.error`, sent when the source fails after the first byte. */
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

/** The data of an event, as text. */
export function inBandData<K extends keyof InBandData> (name: K, data: InBandData[K]): string {
  return JSON.stringify(data)
}
