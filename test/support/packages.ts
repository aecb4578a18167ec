import { execFile } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { ROOT } from './markdown.ts'

/** What a command said, and its exit code. */
export interface Ran { code: number, out: string, err: string }

/** Without what npm tells the processes it starts. */
const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^npm_(?!config_(registry|cache)$)/.test(name)))

/** Runs a program in a folder to its end, as in a user's terminal: without what tap adds to every Node process it meets. */
export function exec (folder: string, file: string, args: readonly string[]): Promise<Ran> {
  return new Promise(resolve => {
    execFile('env', ['-u', 'NODE_OPTIONS', file, ...args], { cwd: folder, env, maxBuffer: 64 * 1024 * 1024 }, (error, out, err) => {
      resolve({ code: error === null ? 0 : Number(error.code ?? -1), out, err })
    })
  })
}

/** The same, for a command that must not fail. */
export async function succeed (folder: string, file: string, args: readonly string[]): Promise<string> {
  const { code, out, err } = await exec(folder, file, args)
  if (code !== 0) throw new Error(`${file} ${args.join(' ')} ended with ${code}:\n${out}${err}`)
  return out
}

/** An empty folder outside of the repository, where no package of the repository is found. */
export function emptyFolder (t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'resumable-sse-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/**
 * Packs `plugin/` or `service/`, which must be built, with the documents that npm's prepack adds. Settles with the path of the tarball.
 * Works on a copy: nothing in the repository changes while other tests run.
 */
export async function pack (t: Test, name: 'plugin' | 'service'): Promise<string> {
  const folder = join(emptyFolder(t), name)
  cpSync(join(ROOT, name), folder, { recursive: true, filter: path => !path.includes('node_modules') })
  await succeed(ROOT, process.execPath, ['scripts/package-documents.js', 'add', folder])
  const [packed] = Object.values(JSON.parse(await succeed(folder, 'npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', '..'])) as Array<{ filename: string }>)
  return join(folder, '..', packed!.filename)
}

/** A new project with files of its own, and packages installed from the registry or from tarballs. */
export async function project (t: Test, { packages, files = {}, type = 'module' }: { packages: readonly string[], files?: Record<string, string>, type?: string }): Promise<string> {
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
