import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { freePort } from '../harness/redis.ts'
import { atMost, median } from '../scenario.ts'
import type { Scenario } from '../scenario.ts'

const POLL_MS = 2
const IMPORTS = { ours: 'fastify-resumable-sse', '@fastify/sse': '@fastify/sse' } as const
const SERVICES = { ours: 'service/dist/cli.js', 'bare Fastify': 'dist/bench/servers/bare-service.js' } as const

/** How long a start takes. */
export const start: Scenario = {
  name: 'start',
  title: 'Start',
  about: 'Importing the library after fastify, in a new process each time; and from the start of the process until\n' +
    '`/readyz` is answered with 200: the service with its log in LMDB, and a bare Fastify app with the same plugins.',
  async run (stage) {
    const imported = Object.keys(IMPORTS) as Array<keyof typeof IMPORTS>
    const started = Object.keys(SERVICES) as Array<keyof typeof SERVICES>
    const imports = await stage.alternate(imported, async side => importMs(IMPORTS[side]), { rounds: 9 })
    const ready = await stage.alternate(started, async side => readyMs(SERVICES[side]), { rounds: 9 })
    return {
      tables: [
        { columns: ['import', 'ms'], rows: Object.entries(imports).map(([side, times]) => [side, median(times)]) },
        { columns: ['until /readyz', 'ms'], rows: Object.entries(ready).map(([side, times]) => [side, median(times)]) }
      ],
      goals: [
        atMost('7', 'importing the library, to @fastify/sse', ratio(imports.ours, imports['@fastify/sse']), 2),
        atMost('7', 'the service ready, to a bare app', ratio(ready.ours, ready['bare Fastify']), 2)
      ]
    }
  }
}

function ratio (times: readonly number[], base: readonly number[]): number {
  return median(times) / median(base)
}

function importMs (name: string): number {
  const program = `await import('fastify')
    const startedAt = performance.now()
    await import('${name}')
    process.stdout.write(String(performance.now() - startedAt))`
  return Number(execFileSync(process.execPath, ['--input-type=module', '--eval', program], { encoding: 'utf8' }))
}

async function readyMs (file: string): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'bench-start-'))
  const port = await freePort()
  const startedAt = performance.now()
  const env = { PATH: process.env.PATH, PORT: String(port), DATA_DIR: folder, LOG_LEVEL: 'warn' }
  const child = spawn(process.execPath, [file], { stdio: 'ignore', env })
  while (!await isReady(port)) await wait(POLL_MS)
  const ms = performance.now() - startedAt
  child.kill('SIGKILL')
  await once(child, 'exit')
  rmSync(folder, { recursive: true })
  return ms
}

async function isReady (port: number): Promise<boolean> {
  return fetch(`http://127.0.0.1:${port}/readyz`).then(response => response.ok, () => false)
}
