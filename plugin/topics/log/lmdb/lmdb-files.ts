import { join } from 'node:path'
import type * as Lmdb from 'lmdb'
import type { Database, RootDatabase, RootDatabaseOptionsWithPath } from 'lmdb'
import { checkLmdbFile } from '../../../common/lmdb-check.ts'
import { checkLmdbRoom, isDiskFull } from '../../../common/lmdb-room.ts'
import { requirePeer } from '../../../common/peer.ts'
import { badOption, errors } from '../../errors.ts'
import { ORIGIN } from '../../ids/event-id.ts'
import type { EventId } from '../../ids/event-id.ts'
import type { KeyedAppend } from '../idempotency.ts'
import type { LeaseState } from '../lease.ts'
import type { Living } from '../lifetimes.ts'
import type { LogEntry, NewEvent } from '../topic-log.ts'
import { checkFormat } from './lmdb-format.ts'
import { RecordEncoder } from './lmdb-record.ts'

const { open } = requirePeer<typeof Lmdb>('lmdb', 'LmdbLog')

/**
 * The state of a topic. Numbers are consecutive, so the retained entries are exactly those from `first` to `last.n`.
 */
export interface Meta extends Living { first: number }
/** An entry as stored. */
export type Stored = [ms: number, event: string | null, data: string, retry: number | null]
/** What is stored for an idempotency key. */
export interface Used extends KeyedAppend { usedAt: number }

/** The open files: three databases in one, and a fourth with the number of the format. */
export interface LmdbFiles {
  root: RootDatabase
  entries: Database<Stored, [topic: string, n: number]>
  topics: Database<Meta, string>
  keys: Database<Used, [topic: string, key: string]>
  encoder: RecordEncoder
}

/** Events may be private: only the owner can access new files, whatever the umask. */
const FILE_MODE = 0o600

/** Opens the files of a folder. Throws when they cannot be read. */
export function openFiles (folder: string): LmdbFiles {
  const path = join(folder, 'topics.mdb')
  checkLmdbRoom(path)
  checkLmdbFile(path)
  // The library starts batches with a promise that nobody handles: a full disk would end the process.
  const options: RootDatabaseOptionsWithPath & { permissionsMode: number } = {
    path,
    noSubdir: true,
    maxDbs: 4,
    eventTurnBatching: false,
    permissionsMode: FILE_MODE
  }
  const root = open(options)
  const encoder = new RecordEncoder(folder)
  const named = (name: string) => ({ name, encoder })
  const files = {
    root,
    entries: root.openDB<Stored, [topic: string, n: number]>(named('entries')),
    topics: root.openDB<Meta, string>(named('topics')),
    keys: root.openDB<Used, [topic: string, key: string]>(named('keys')),
    encoder
  }
  try {
    checkFormat(folder, root, files.topics)
  } catch (error) {
    void root.close()
    throw error
  }
  return files
}

/** A transaction in progress. */
export interface Writing<T> {
  /** Settles when it is committed; rejects with the error of the work or the failed commit. */
  written: Promise<T>
  /** Settles when it is flushed to the disk; never settles if the commit failed. */
  flushed: Promise<unknown>
  /** Settles when the library's own thread no longer uses it. */
  over: Promise<unknown>
}

/**
 * Runs writes in one transaction. The transaction may be committed before its thread has finished: that still uses the
 * open files, and closing them meanwhile crashes the process (SIGSEGV, SIGFPE). Only the flush of this particular
 * transaction follows the thread; the flush that the library reports by then may belong to a later one, whose thread
 * was faster.
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
  // Callers that wait for these promises receive the error as well; if there are none, a full disk must not end the
  // process.
  for (const promise of [flushed, written]) promise.catch(() => {})
  return { written, flushed, over }
}

/**
 * Closes the files when nothing is in progress. An empty transaction is run first: after a failed one, the library
 * would wait indefinitely for its flush.
 */
export async function closeFiles (files: LmdbFiles): Promise<void> {
  await beginWrite(files, () => {}).over
  await files.root.close()
}

/** LMDB's error codes for invalid pages. */
const DAMAGED = [-30_797, -30_796]
/** How it reports a full disk: system errors by number (EIO, EFBIG, ENOSPC). */
const NOT_WRITTEN = [5, 27, 28]

/** The error with which a call rejects when the library threw. */
export function toLogError (folder: string, cause: unknown): unknown {
  if (cause instanceof errors.TOPICS_LOG_CORRUPT || cause instanceof errors.TOPICS_LOG_UNAVAILABLE) return cause
  const { code, message } = cause as { code: number, message: string }
  const error = DAMAGED.includes(code)
    ? new errors.TOPICS_LOG_CORRUPT(folder, message)
    : new errors.TOPICS_LOG_UNAVAILABLE(
      NOT_WRITTEN.includes(code) ? `${message}; is the disk of ${folder} full?` : message
    )
  return Object.assign(error, { cause })
}

/**
 * The error of a failed start. System errors name internal files that mean nothing to the user, and are not damage: a
 * folder restored by another user, or a full disk, must not look like a lost log.
 */
export function toStartError (folder: string, cause: unknown): unknown {
  const { code, syscall, message } = cause as NodeJS.ErrnoException
  if (cause instanceof errors.TOPICS_LOG_IN_USE || cause instanceof errors.TOPICS_LOG_FORMAT) return cause
  if (isDiskFull(cause as NodeJS.ErrnoException)) {
    const error = new errors.TOPICS_LOG_UNAVAILABLE(`the disk of ${folder} is full (${code}): free some space`)
    return Object.assign(error, { cause })
  }
  if (syscall !== undefined) {
    const range = 'a folder that this process can write to, with its files'
    return Object.assign(badOption('folder', range, `"${folder}" (${code})`), { cause })
  }
  if (NOT_WRITTEN.includes(code as unknown as number)) return toLogError(folder, cause)
  return Object.assign(new errors.TOPICS_LOG_CORRUPT(folder, message), { cause })
}

/**
 * Why a transaction failed; nothing of it was stored. For a failed commit, usually on a full disk, the cause is a
 * separate promise on the error, which would end the process if nobody handled it.
 */
export async function reasonOf (failure: unknown): Promise<unknown> {
  const { commitError } = failure as { commitError?: Promise<never> }
  return await commitError?.catch((error: unknown) => error) ?? failure
}

/** The state of a topic without entries. */
export function emptyMeta (touchedAt: number, forgottenMs: number, state: LeaseState): Meta {
  return { first: 1, last: ORIGIN, bornMs: 0, forgottenMs, state, touchedAt }
}

export function toStored ({ ms }: EventId, { event, data, retry }: NewEvent): Stored {
  return [ms, event ?? null, data, retry ?? null]
}

export function toEntry (n: number, [ms, event, data, retry]: Stored): LogEntry {
  return { id: { ms, n }, event: event ?? undefined, data, retry: retry ?? undefined }
}

/** When an entry was stored, without reading its data; undefined if it is missing. */
export function msOf ({ entries, encoder }: LmdbFiles, topic: string, n: number): number | undefined {
  const record = entries.getBinaryFast([topic, n])
  return record && encoder.firstNumber(record)
}

/** Deletes entries by their numbers, inclusive, within a transaction. */
export function dropEntries ({ entries }: LmdbFiles, topic: string, first: number, last: number): void {
  for (let n = first; n <= last; n++) void entries.remove([topic, n])
}
