import { rmSync, statSync, writeFileSync } from 'node:fs'

/** More than LMDB needs for an empty file and its lock file. */
const NEW_FILES_BYTES = 64 * 1_024
/** System errors: no space left, quota exceeded, file too large. */
const FULL: readonly unknown[] = ['ENOSPC', 'EDQUOT', 'EFBIG']

/**
 * LMDB maps its lock file into memory: on a disk without room for it the process would be killed (SIGBUS) without a
 * message. So new files are created only if there is room; existing ones already have theirs, and can be read on a full
 * disk. Throws the system error.
 */
export function checkLmdbRoom (path: string): void {
  if ([path, `${path}-lock`].every(file => (statSync(file, { throwIfNoEntry: false })?.size ?? 0) > 0)) return
  const trial = `${path}-trial`
  try {
    writeFileSync(trial, Buffer.alloc(NEW_FILES_BYTES), { mode: 0o600 })
  } finally {
    rmSync(trial, { force: true })
  }
}

/** True for a system error which says that the disk is full. */
export function isDiskFull (error: NodeJS.ErrnoException): boolean {
  return FULL.includes(error.code)
}
