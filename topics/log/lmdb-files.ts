import { join } from 'node:path'
import { open } from 'lmdb'
import type { Database, RootDatabase } from 'lmdb'
import { errors } from '../errors.ts'
import type { EventId } from '../event-id.ts'
import { checkLmdbFile } from './lmdb-check.ts'
import { RecordEncoder } from './lmdb-record.ts'

/** A topic's state. Numbers are dense, so the retained entries are exactly those from `first` to `last.n`. */
export interface Meta { first: number, last: EventId, bornMs: number, isClosed: boolean, touchedAt: number }
/** An entry as stored. */
export type Stored = [ms: number, event: string | null, data: string, retry: number | null]
/** What an idempotency key stands for. */
export interface Used { first: EventId, count: number, usedAt: number }

/** The open files: three databases in one. */
export interface LmdbFiles {
  root: RootDatabase
  entries: Database<Stored, [topic: string, n: number]>
  topics: Database<Meta, string>
  keys: Database<Used, [topic: string, key: string]>
}

/** Opens the files of a folder. Throws when they cannot be read. */
export function openFiles (folder: string): LmdbFiles {
  const path = join(folder, 'topics.mdb')
  checkLmdbFile(path)
  // Batches of the library are begun by a promise that nobody hears: a disk that is full would end the process.
  const root = open({ path, noSubdir: true, maxDbs: 3, eventTurnBatching: false })
  const encoder = new RecordEncoder(folder)
  const named = (name: string) => ({ name, encoder })
  return { root, entries: root.openDB(named('entries')), topics: root.openDB(named('topics')), keys: root.openDB(named('keys')) }
}

/** Closes the files. An empty transaction comes first: after one that failed, the library would wait for its flush for ever. */
export async function closeFiles ({ root }: LmdbFiles): Promise<void> {
  await root.transaction(() => {})
  await root.flushed
  await root.close()
}

/** LMDB's codes for pages that are not what they should be. */
const DAMAGED = [-30_797, -30_796]

/** What a call rejects with when the library threw. */
export function toLogError (folder: string, cause: unknown): unknown {
  if (cause instanceof errors.TOPICS_LOG_CORRUPT || cause instanceof errors.TOPICS_LOG_UNAVAILABLE) return cause
  const { code, message } = cause as { code?: number, message: string }
  const error = DAMAGED.includes(code ?? 0) ? new errors.TOPICS_LOG_CORRUPT(folder, message) : new errors.TOPICS_LOG_UNAVAILABLE(message)
  return Object.assign(error, { cause })
}

/**
 * Why a transaction failed; nothing of it was kept. For a commit, on a full disk mostly, the reason is a promise of its
 * own on the error, and unheard it would end the process.
 */
export async function reasonOf (failure: unknown): Promise<unknown> {
  const { commitError } = failure as { commitError?: Promise<never> }
  return await commitError?.catch((error: unknown) => error) ?? failure
}
