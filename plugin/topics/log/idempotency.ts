import { createHash } from 'node:crypto'
import type { EventId } from '../event-id.ts'
import type { AppendOptions, NewEvent } from './topic-log.ts'

/** What a log remembers of an append with an idempotency key. */
export interface KeyedAppend {
  first: EventId
  count: number
  /** Of the events that were appended, see `fingerprintOf`. */
  fingerprint: string
}

/**
 * The name under which a log remembers an idempotency key: the key, followed by a space and a hash of the publisher
 * where one is given. A key holds no space, so no publisher can reach the keys of another. Undefined without a key.
 */
export function keyNameOf ({ idempotencyKey, publisher }: AppendOptions): string | undefined {
  if (idempotencyKey === undefined || publisher === undefined) return idempotencyKey
  return `${idempotencyKey} ${sha256().update(publisher).digest('base64url')}`
}

/** A hash of events, in which each text follows its length: different batches never give the same bytes. */
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
