import { createHash } from 'node:crypto'
import type { EventId } from '../ids/event-id.ts'
import type { AppendOptions, NewEvent } from './topic-log.ts'

/** What a log remembers of an append with an idempotency key. */
export interface KeyedAppend {
  first: EventId
  count: number
  /** Hash of the appended events, see `fingerprintOf`. */
  fingerprint: string
}

/**
 * The name under which a log stores an idempotency key: the key, followed by a space and a hash of the publisher if
 * there is one. A key contains no space, so no publisher can access the keys of another. Undefined without a key.
 */
export function keyNameOf ({ idempotencyKey, publisher }: AppendOptions): string | undefined {
  if (idempotencyKey === undefined || publisher === undefined) return idempotencyKey
  return `${idempotencyKey} ${sha256().update(publisher).digest('base64url')}`
}

/**
 * A hash of events, in which each text is preceded by its length, so that different batches never produce the same
 * bytes.
 */
export function fingerprintOf (events: readonly NewEvent[]): string {
  const hash = sha256()
  for (const { event = '', data, retry = '' } of events) {
    hash.update(`${event.length} ${data.length} ${retry}\n${event}${data}`)
  }
  return hash.digest('base64url')
}

function sha256 () {
  return createHash('sha256')
}
