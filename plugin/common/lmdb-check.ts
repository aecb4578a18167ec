import { closeSync, existsSync, fstatSync, ftruncateSync, openSync, readSync } from 'node:fs'

/** Offsets in a meta page, little endian: a file starts with two of them, and the newer one counts. */
const META = {
  bytes: 168,
  flagsAt: 18,
  magicAt: 24,
  versionAt: 28,
  pageBytesAt: 48,
  rootsAt: [88, 136],
  lastPageAt: 144
}
const META_FLAG = 0x08
const MAGIC = 0xBEEFC0DE
const VERSION = 2
const PAGE_SIZES = [4_096, 8_192, 16_384, 32_768, 65_536]
/** The root of an empty tree. */
const NO_PAGE = 0xFFFF_FFFF_FFFF_FFFFn

/**
 * Checks that LMDB can open a file and its lock file, or that they do not exist yet. Otherwise the library crashes the
 * process: a file that it rejects is freed twice (SIGSEGV), and a page beyond the end of the file causes SIGBUS. So a
 * truncated file is extended to its declared length: the missing pages are then empty, which LMDB detects.
 */
export function checkLmdbFile (path: string): void {
  const lock = `${path}-lock`
  if (existsSync(lock)) closeSync(openSync(lock, 'r+'))
  if (existsSync(path)) checkPages(path)
}

function checkPages (path: string): void {
  const file = openSync(path, 'r+')
  try {
    const { size } = fstatSync(file)
    if (size === 0) return
    const first = readMeta(file, 0)
    const second = readMeta(file, first.pageBytes)
    const needed =
      Number(first.lastPage > second.lastPage ? first.lastPage + 1n : second.lastPage + 1n) * first.pageBytes
    if (size < needed) ftruncateSync(file, needed)
  } finally {
    closeSync(file)
  }
}

function readMeta (file: number, at: number): { pageBytes: number, lastPage: bigint } {
  const page = Buffer.alloc(META.bytes)
  readSync(file, page, 0, META.bytes, at)
  const pageBytes = page.readUInt32LE(META.pageBytesAt)
  const lastPage = page.readBigUInt64LE(META.lastPageAt)
  const isMeta =
    page.readUInt16LE(META.flagsAt) === META_FLAG &&
    page.readUInt32LE(META.magicAt) === MAGIC &&
    page.readUInt16LE(META.versionAt) === VERSION
  const areRootsInside = META.rootsAt
    .map(root => page.readBigUInt64LE(root))
    .every(root => root <= lastPage || root === NO_PAGE)
  if (!isMeta || !PAGE_SIZES.includes(pageBytes) || !areRootsInside) {
    throw new Error('its header is not that of an LMDB file')
  }
  return { pageBytes, lastPage }
}
