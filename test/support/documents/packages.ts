import { execFile } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { ROOT } from './markdown.ts'

/** The output of a command, and its exit code. */
export interface Ran { code: number, out: string, err: string }

/** Without the variables that npm sets for its child processes. */
const env = Object.fromEntries(Object.entries(process.env)
  .filter(([name]) => !/^npm_(?!config_(registry|cache)$)/.test(name)))

/**
 * Runs a program in a folder to its end, as in a user's terminal: without the environment that tap sets for every Node
 * process.
 */
export function exec (folder: string, file: string, args: readonly string[]): Promise<Ran> {
  return new Promise(resolve => {
    execFile('env', ['-u', 'NODE_OPTIONS', file, ...args], {
      cwd: folder, env, maxBuffer: 64 * 1024 * 1024
    }, (error, out, err) => {
      resolve({ code: error === null ? 0 : Number(error.code ?? -1), out, err })
    })
  })
}

/** The same, for a command that must succeed. */
export async function succeed (folder: string, file: string, args: readonly string[]): Promise<string> {
  const { code, out, err } = await exec(folder, file, args)
  if (code !== 0) throw new Error(`${file} ${args.join(' ')} ended with ${code}:\n${out}${err}`)
  return out
}

/** An empty folder outside the repository, where none of its packages are found. */
export function emptyFolder (t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'resumable-sse-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/**
 * Packs `plugin/` or `service/`, which must be built, with the documents that npm's prepack adds. Resolves to the path
 * of the tarball. Works on a copy, so that the repository does not change while other tests run.
 */
export async function pack (t: Test, name: 'plugin' | 'service'): Promise<string> {
  const folder = join(emptyFolder(t), name)
  cpSync(join(ROOT, name), folder, { recursive: true, filter: path => !path.includes('node_modules') })
  await succeed(ROOT, process.execPath, ['scripts/package-documents.js', 'add', folder])
  const [packed] = Object.values(JSON.parse(await succeed(folder, 'npm', [
    'pack', '--json', '--ignore-scripts', '--pack-destination', '..'
  ])) as Array<{ filename: string }>)
  return join(folder, '..', packed!.filename)
}

/** A new project with its own files, and packages installed from the registry or from tarballs. */
export async function project (
  t: Test,
  { packages, files = {}, type = 'module' }: {
    packages: readonly string[], files?: Record<string, string>, type?: string
  }
): Promise<string> {
  const folder = emptyFolder(t)
  writeFiles(folder, { 'package.json': JSON.stringify({ private: true, type }), ...files })
  await install(folder, packages)
  return folder
}

export async function install (folder: string, packages: readonly string[]): Promise<void> {
  await succeed(folder, 'npm', ['install', '--no-audit', '--no-fund', '--prefer-offline', ...packages])
}

export function writeFiles (folder: string, files: Record<string, string>): void {
  for (const [file, text] of Object.entries(files)) {
    mkdirSync(join(folder, file, '..'), { recursive: true })
    writeFileSync(join(folder, file), text)
  }
}
