import { errors } from '../../errors.ts'
import { forgottenState } from '../lease.ts'
import { endedMs } from '../lifetimes.ts'
import type { Lifetimes } from '../lifetimes.ts'
import { dropEntries, emptyMeta } from './lmdb-files.ts'
import type { LmdbFiles, Meta } from './lmdb-files.ts'

/** Expired topics and keys checked per append: enough to check all of them within as many appends. */
const SWEPT_PER_APPEND = 2
/** Entries of a forgotten topic that are deleted in one transaction. */
const DROPPED_PER_STEP = 1_000

/** Deletes expired topics and stale keys that nobody accesses, a few per append and without a timer. */
export class LmdbSweep {
  readonly #lifetimes: Lifetimes
  #topic = ''
  #key: [topic: string, key: string] = ['', '']

  constructor (lifetimes: Lifetimes) {
    this.#lifetimes = lifetimes
  }

  /**
   * Checks the next few topics and keys, within the transaction of an append. A damaged record is passed over: it is
   * reported to those who use its topic, and must not fail the append, which may be to another one.
   */
  some (db: LmdbFiles): void {
    const topics = [...db.topics.getKeys({ start: this.#topic, limit: SWEPT_PER_APPEND + 1 })]
    this.#topic = topics.length > SWEPT_PER_APPEND ? topics.at(-1)! : ''
    for (const topic of topics) {
      const meta = intact(() => db.topics.get(topic))
      if (meta && this.#lifetimes.hasExpired(topic, meta)) this.#forget(db, topic, meta)
    }
    const keys = [...db.keys.getKeys({ start: this.#key, limit: SWEPT_PER_APPEND + 1 })]
    this.#key = keys.length > SWEPT_PER_APPEND ? keys.at(-1)! : ['', '']
    for (const key of keys) {
      const used = intact(() => db.keys.get(key))
      if (used && this.#lifetimes.isStale(key[0], used)) void db.keys.remove(key)
    }
  }

  /** A long topic is deleted in steps, so that no single transaction takes long. */
  #forget (db: LmdbFiles, topic: string, meta: Meta): void {
    const end = Math.min(meta.last.n, meta.first + DROPPED_PER_STEP - 1)
    dropEntries(db, topic, meta.first, end)
    const fate = this.#lifetimes.fateOf(topic, meta)
    if (end < meta.last.n) void db.topics.put(topic, { ...meta, first: end + 1 })
    else if (fate === 'drop') void db.topics.remove(topic)
    else if (fate === 'end') {
      void db.topics.put(topic, emptyMeta(meta.touchedAt, endedMs(meta), forgottenState(meta.state)))
    }
  }
}

/** What a record contains; undefined if it is damaged. */
function intact<T> (read: () => T): T | undefined {
  try {
    return read()
  } catch (error) {
    if (error instanceof errors.TOPICS_LOG_CORRUPT) return undefined
    throw error
  }
}
