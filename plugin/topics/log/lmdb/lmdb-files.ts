import { join } from 'node:path'
import type * as Lmdb from 'lmdb'
import type { Database, RootDatabase, RootDatabaseOptionsWithPath } from 'lmdb'
import { requirePeer } from '../../../common/peer.ts'
import { errors } from '../../errors.ts'
import type { EventId } from '../../event-id.ts'
import type { KeyedAppend } from '../idempotency.ts'
import type { LeaseState } from '../lease.ts'
import { checkLmdbFile } from './lmdb-check.ts'
import { RecordEncoder } from './lmdb-record.ts'

const { open } = requirePeer<typeof Lmdb>('lmdb', 'LmdbLog')

/** A topic's state. Numbers are dense, so the retained entries are exactly those from `first` to `last.n`. */
export interface Meta {
  first: number
  last: EventId
  bornMs: number
  forgottenMs?: number
  state: LeaseState
  touchedAt: number
}
/** An entry as stored. */
export type Stored = [ms: number, event: string | null, data: string, retry: number | null]
/** What an idempotency key stands for. */
export interface Used extends KeyedAppend { usedAt: number }

/** The open files: three databases in one. */
export interface LmdbFiles {
  root: RootDatabase
  entries: Database<Stored, [topic: string, n: number]>
  topics: Database<Meta, string>
  keys: Database<Used, [topic: string, key: string]>
}

/** Events may be private: new files are for the owner alone, whatever the umask. */
const FILE_MODE = 0o600

/** Opens the files of a folder. Throws when they cannot be read. */
export function openFiles (folder: string): LmdbFiles {
  const path = join(folder, 'topics.mdb')
  checkLmdbFile(path)
  // Batches of the library are begun by a promise that nobody handles: a full disk would end the process.
  const options: RootDatabaseOptionsWithPath & { permissionsMode: number } = {
    path,
    noSubdir: true,
    maxDbs: 3,
    eventTurnBatching: false,
    permissionsMode: FILE_MODE
  }
  const root = open(options)
  const encoder = new RecordEncoder(folder)
  const named = (name: string) => ({ name, encoder })
  return {
    root,
    entries: root.openDB(named('entries')),
    topics: root.openDB(named('topics')),
    keys: root.openDB(named('keys'))
  }
}

/** A transaction under way. */
export interface Writing<T> {
  /** Settles when it is done; rejects with what the work threw, or when the commit failed. */
  written: Promise<T>
  /** Settles when it is flushed to the disk; never, when the commit failed. */
  flushed: Promise<unknown>
  /** Settles when the library's own thread has let go of it. */
  over: Promise<unknown>
}

/**
 * Runs writes in one transaction. It may be done before its thread is: that one still looks at the open files, and
 * files closed meanwhile take the process along (SIGSEGV, SIGFPE). Only the flush of this very transaction comes after
 * it; the one that the library knows by then may be that of a later one, whose thread was faster.
 */
export function beginWrite<T> ({ root }: LmdbFiles, work: () => T): Writing<T> {
  const written = root.transaction(work)
  const flushed = root.flushed.then()
  const over = written
    .then(
      () => flushed,
      (failure: object) => ('commitError' in failure ? undefined : flushed)
    )
    .catch(() => {})
  // Whoever waits for them hears it, too; where nobody does, a disk that is full must not end the process.
  for (const promise of [flushed, written]) promise.catch(() => {})
  return { written, flushed, over }
}

/**
 * Closes the files when nothing is under way. An empty transaction comes first: after one that failed, the library
 * would wait for its flush for ever.
 */
export async function closeFiles (files: LmdbFiles): Promise<void> {
  await beginWrite(files, () => {}).over
  await files.root.close()
}

/** LMDB's codes for pages that are not what they should be. */
const DAMAGED = [-30_797, -30_796]

/** What a call rejects with when the library threw. */
export function toLogError (folder: string, cause: unknown): unknown {
  if (cause instanceof errors.TOPICS_LOG_CORRUPT || cause instanceof errors.TOPICS_LOG_UNAVAILABLE) return cause
  const { code, message } = cause as { code: number, message: string }
  const error = DAMAGED.includes(code)
    ? new errors.TOPICS_LOG_CORRUPT(folder, message)
    : new errors.TOPICS_LOG_UNAVAILABLE(message)
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
