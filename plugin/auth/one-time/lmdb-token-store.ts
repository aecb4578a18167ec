import { join } from 'node:path'
import type * as Lmdb from 'lmdb'
import type { Database, RootDatabase, RootDatabaseOptionsWithPath } from 'lmdb'
import { checkLmdbFile } from '../../common/lmdb-check.ts'
import { checkLmdbRoom } from '../../common/lmdb-room.ts'
import { makeFolder } from '../../common/make-folder.ts'
import { checkOptions, folderPath, isFunction } from '../../common/option-check.ts'
import type { OptionCheck } from '../../common/option-check.ts'
import { requirePeer } from '../../common/peer.ts'
import { errors } from '../errors.ts'
import { MemoryTokenStore } from './memory-token-store.ts'
import type { TokenTables } from './memory-token-store.ts'
import type {
  PresentedToken,
  RedeemedToken,
  SessionLimits,
  StoreChange,
  StoredToken,
  TokenRecord,
  TokenStore
} from './token-store.ts'

const { open } = requirePeer<typeof Lmdb>('lmdb', 'LmdbTokenStore')

export interface LmdbTokenStoreOptions {
  /**
   * Folder of the file `auth.mdb`; created if it does not exist. Only one process at a time may use it, as with
   * `LmdbLog`, which may use the same folder.
   */
  folder: string
  /** A clock in Unix ms, for tests. */
  now?: (() => number) | undefined
}

const TABLES = ['tokens', 'sessions', 'revoked', 'marks'] as const satisfies readonly (keyof TokenTables)[]
type TableName = (typeof TABLES)[number]

/** The table and key of a changed entry. */
interface Place { table: TableName, key: string }
/** The current value of the entry; undefined deletes it. */
interface Change extends Place { value: unknown }

interface Files { root: RootDatabase, tables: Record<TableName, Database<unknown, string>> }

/** Readable only by its owner: the file contains subjects and topics, but no tokens. */
const FILE_MODE = 0o600

const CHECKS: Readonly<Record<keyof LmdbTokenStoreOptions, OptionCheck>> = {
  folder: folderPath,
  now: { range: 'a function', ok: isFunction }
}

/**
 * Tokens, sessions and revocations of one process in an LMDB file, which survives a restart. Everything is also kept in
 * memory; a call settles when its changes are on the disk.
 */
export class LmdbTokenStore implements TokenStore {
  readonly #folder: string
  readonly #now: (() => number) | undefined
  #store: MemoryTokenStore | undefined
  #files: Files | undefined
  #tables: TokenTables | undefined
  /** Entries that were changed and not written yet, each once: while the disk is full, writing them is retried. */
  #changed = new Map<string, Place>()
  readonly #writing = new Set<Promise<void>>()

  /** Opens nothing yet. Throws `FST_SSE_BAD_OPTION`. */
  constructor (options: LmdbTokenStoreOptions) {
    checkOptions(options, CHECKS, (...seen) => new errors.FST_SSE_BAD_OPTION('LmdbTokenStore', ...seen))
    this.#folder = options.folder
    this.#now = options.now
  }

  /**
   * Rejects with `FST_SSE_STORE_CORRUPT` if the file is damaged: without its revocations, nobody may be admitted.
   * Rejects with the error of the system if it cannot be opened.
   */
  async start (onChange: (change: StoreChange) => void): Promise<void> {
    makeFolder(this.#folder)
    const tables = this.#tables = this.#openFiles(join(this.#folder, 'auth.mdb'))
    this.#store = new MemoryTokenStore({ now: this.#now, tables })
    await this.#store.start(onChange)
  }

  async stop (): Promise<void> {
    const files = this.#files
    if (files === undefined) return
    await this.#store!.stop()
    await this.#write().catch(() => {})
    this.#store = this.#files = undefined
    await Promise.allSettled(this.#writing)
    // Closing a transaction while its thread uses it would crash the process.
    await files.root.transaction(() => {})
    await files.root.flushed
    await files.root.close()
  }

  async issue (tokenHash: string, record: TokenRecord, ttlMs: number): Promise<void> {
    await this.#kept(store => store.issue(tokenHash, record, ttlMs))
  }

  async find (presented: PresentedToken, limits: SessionLimits): Promise<StoredToken | undefined> {
    return this.#open.find(presented, limits)
  }

  async redeem (
    presented: PresentedToken,
    newSecretHash: string,
    limits: SessionLimits
  ): Promise<RedeemedToken | undefined> {
    return this.#kept(store => store.redeem(presented, newSecretHash, limits))
  }

  async release (session: string, turn: number): Promise<void> {
    await this.#open.release(session, turn)
  }

  async touch (sessions: readonly string[], limits: SessionLimits): Promise<Set<string>> {
    return this.#kept(store => store.touch(sessions, limits))
  }

  async revokeSession (session: string): Promise<void> {
    await this.#kept(store => store.revokeSession(session))
  }

  async revokeSubject (subject: string, ttlMs: number): Promise<void> {
    await this.#kept(store => store.revokeSubject(subject, ttlMs))
  }

  async revokedSubjects (sinceMs?: number): Promise<Map<string, number>> {
    return this.#open.revokedSubjects(sinceMs)
  }

  async forgottenMs (): Promise<number> {
    return this.#open.forgottenMs()
  }

  async supersede (session: string, turn: number): Promise<void> {
    await this.#open.supersede(session, turn)
  }

  #openFiles (path: string): TokenTables {
    let files: Files | undefined
    try {
      files = openFiles(path)
      const tables = this.#load(files)
      this.#files = files
      return tables
    } catch (cause) {
      void files?.root.close()
      throw toStartError(path, cause)
    }
  }

  get #open (): MemoryTokenStore {
    if (!this.#store) throw new errors.FST_SSE_STORE_UNAVAILABLE('it is not open')
    return this.#store
  }

  /** Settles when all changes made so far are on the disk. */
  async #kept<T> (call: (store: MemoryTokenStore) => Promise<T>): Promise<T> {
    const result = await call(this.#open)
    await this.#write()
    return result
  }

  async #write (): Promise<void> {
    const changed = this.#changed
    if (changed.size === 0) return
    this.#changed = new Map()
    const written = commit(this.#files!, [...changed.values()].map(place => this.#changeAt(place)))
    this.#writing.add(written)
    try {
      await written
    } catch (cause) {
      // Retried with the next changes, using the values at that time: newer values may already be on the disk.
      for (const [name, place] of changed) this.#changed.set(name, place)
      throw Object.assign(new errors.FST_SSE_STORE_UNAVAILABLE((cause as Error).message), { cause })
    } finally {
      this.#writing.delete(written)
    }
  }

  #changeAt ({ table, key }: Place): Change {
    return { table, key, value: this.#tables![table].get(key) }
  }

  /** Expired entries are left to the sweeps: each table is ordered by expiry. After a restart no stream is open. */
  #load ({ tables }: Files): TokenTables {
    const read = <V>(table: TableName): Map<string, V> => {
      const entries = [...tables[table].getRange()].map(
        ({ key, value }) => [key, value] as [string, V & { untilMs?: number }]
      )
      entries.sort(([, { untilMs: a = 0 }], [, { untilMs: b = 0 }]) => a - b)
      return new KeptMap<V>(entries, key => { this.#changed.set(`${table} ${key}`, { table, key }) })
    }
    const loaded: TokenTables = {
      tokens: read('tokens'),
      sessions: read('sessions'),
      revoked: read('revoked'),
      marks: read('marks')
    }
    for (const [hash, session] of [...loaded.sessions]) loaded.sessions.set(hash, { ...session, openTurn: 0 })
    return loaded
  }
}

/** A map that reports its changes. */
class KeptMap<V> extends Map<string, V> {
  readonly #onChange: (key: string) => void

  constructor (entries: Iterable<[string, V]>, onChange: (key: string) => void) {
    super()
    for (const [key, value] of entries) super.set(key, value)
    this.#onChange = onChange
  }

  override set (key: string, value: V): this {
    this.#onChange(key)
    return super.set(key, value)
  }

  override delete (key: string): boolean {
    this.#onChange(key)
    return super.delete(key)
  }
}

function openFiles (path: string): Files {
  checkLmdbRoom(path)
  checkLmdbFile(path)
  // lmdb starts batches with a promise that nobody handles: a full disk would end the process.
  const options: RootDatabaseOptionsWithPath & { permissionsMode: number } = {
    path,
    noSubdir: true,
    maxDbs: TABLES.length,
    eventTurnBatching: false,
    permissionsMode: FILE_MODE
  }
  const root = open(options)
  const table = (name: TableName): Database<unknown, string> => root.openDB({ name, encoding: 'json' })
  return {
    root,
    tables: { tokens: table('tokens'), sessions: table('sessions'), revoked: table('revoked'), marks: table('marks') }
  }
}

/**
 * The error of a failed start. Errors of the system have a name or, from LMDB, a positive number; all others say that
 * the file cannot be read.
 */
function toStartError (path: string, cause: unknown): unknown {
  const { code, syscall, message } = cause as Omit<NodeJS.ErrnoException, 'code'> & { code?: unknown }
  if (syscall !== undefined) return cause
  const error = typeof code === 'number' && code > 0
    ? new errors.FST_SSE_STORE_UNAVAILABLE(`${path}: ${message}`)
    : new errors.FST_SSE_STORE_CORRUPT(path, message)
  return Object.assign(error, { cause })
}

/** Settles when the changes are flushed. The cause of a failed commit is a separate promise on the error. */
async function commit ({ root, tables }: Files, changes: readonly Change[]): Promise<void> {
  const written = root.transaction(() => {
    for (const { table, key, value } of changes) {
      // Each of these also rejects if the commit fails, which would end the process; the transaction reports the
      // failure.
      const change = value === undefined ? tables[table].remove(key) : tables[table].put(key, value)
      change.catch(() => {})
    }
  })
  const flushed = root.flushed.then()
  flushed.catch(() => {})
  try {
    await written
  } catch (failure) {
    throw await (failure as { commitError?: Promise<never> }).commitError?.catch((error: unknown) => error) ?? failure
  }
  await flushed
}
