import type { Database, RootDatabase } from 'lmdb'
import { errors } from '../../errors.ts'

/** The number of the format in which records are written. Increase it whenever an older version cannot read them. */
const FORMAT = 1
/** Its key, in the database of that name. */
const FORMAT_KEY = 'number'

/**
 * Rejects files that another version wrote in another format, before anything is read or written: otherwise the process
 * would start, and each call would fail with an error that does not name the cause. New files get the current number.
 * Throws `TOPICS_LOG_FORMAT`.
 */
export function checkFormat (folder: string, root: RootDatabase, topics: Database<unknown, string>): void {
  const formats = root.openDB<number, string>({ name: 'format', encoding: 'json' })
  const found = formats.get(FORMAT_KEY)
  if (found === FORMAT) return
  if (found !== undefined || topics.getKeysCount({ limit: 1 }) > 0) {
    throw new errors.TOPICS_LOG_FORMAT(folder, found === undefined ? 'no format number' : `format ${found}`, FORMAT)
  }
  formats.putSync(FORMAT_KEY, FORMAT)
}
