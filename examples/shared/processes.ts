import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { chmodSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Debian installs nginx in a folder that is only in root's PATH. */
const PATH = `${process.env.PATH}:/usr/sbin`

const children = new Set<ChildProcess>()
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit())
process.on('exit', () => { for (const child of children) child.kill() })

/**
 * Starts a program that exits together with this one, and prints its output. Throws if the program is not installed.
 */
export function start (command: string, args: readonly string[], env: Record<string, string> = {}): ChildProcess {
  const child = spawn(command, args, { stdio: ['ignore', 'inherit', 'inherit'], env: { ...process.env, PATH, ...env } })
  children.add(child)
  child.once('exit', () => children.delete(child))
  return child
}

/** Otherwise nginx would give those of an nginx that is installed on this machine to its own user. */
const TEMP_PATHS = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  .map(kind => `${kind}_temp_path ${kind}_temp;`)
  .join(' ')

/**
 * Starts nginx with a configuration whose ports 3000, 3001, … become those from `port` on, and with a folder of its own
 * for temporary files.
 */
export function startNginx (file: string, port: number): ChildProcess {
  const folder = mkdtempSync(join(tmpdir(), 'nginx-'))
  const config = readFileSync(file, 'utf8').replaceAll(
    /(?<=127\.0\.0\.1:)300(\d)/g,
    (_, n: string) => String(port + Number(n))
  )
  // For its worker processes, which have another user.
  chmodSync(folder, 0o711)
  writeFileSync(join(folder, 'nginx.conf'), config.replace(/^http \{/m, `http { ${TEMP_PATHS}`))
  return start('nginx', ['-p', folder, '-c', 'nginx.conf', '-e', 'stderr', '-g', 'daemon off; pid nginx.pid;'])
}
