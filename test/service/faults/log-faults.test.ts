import { execFileSync } from 'node:child_process'
import { closeSync, constants, openSync, readFileSync, readSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import { originIn, run } from '../../support/processes/commands.ts'
import type { Command } from '../../support/processes/commands.ts'
import { stablePort } from '../../support/network/ports.ts'
import { call } from '../../support/service/service-app.ts'

// Regression: pino ended the process on an error of stdout, and then repeated the write until it succeeded. The service
// hung, without a response and without reacting to SIGTERM.

/** Runs the built command with its stdout redirected by a shell. */
function runInto (t: Test, output: string, env: Record<string, string> = {}, args = ''): Command {
  const script = `exec "$0" service/dist/cli.js ${args} > "${output}"`
  return run(t, 'sh', ['-c', script, process.execPath], { PORT: '0', LOG: 'memory', ...env })
}

async function originOf (service: Command): Promise<string> {
  await service.until(({ err }) => err.includes('listens on '))
  return originIn(service.err)
}

async function end (service: Command): Promise<number | NodeJS.Signals | null> {
  service.kill('SIGTERM')
  return service.exit()
}

/** Without a Redis there: each process logs that. */
const TEAM = { LOG: 'redis', REDIS_URL: 'redis://127.0.0.1:1', WORKERS: '2' }

for (const [name, env] of Object.entries({ service: {}, 'team of workers': TEAM })) {
  t.test(`a ${name} that cannot write its log serves requests and ends on SIGTERM`, async t => {
    const service = runInto(t, '/dev/full', { LOG_LEVEL: 'debug', PORT: `${await stablePort()}`, ...env })
    const origin = await originOf(service)
    t.equal((await call(`${origin}/nowhere`)).status, 404)
    t.equal((await call(`${origin}/healthz`)).status, 200)
    t.equal(await end(service), 0)
  })
}

t.test('messages that cannot be printed to stderr do not end the service', async t => {
  const script = 'exec "$0" service/dist/cli.js 2> /dev/full'
  const service = run(t, 'sh', ['-c', script, process.execPath], { PORT: '0', LOG: 'memory' })
  await service.until(({ out }) => out.includes('listening at '))
  t.equal((await call(`${originIn(service.out)}/healthz`)).status, 200)
  t.equal(await end(service), 0)
})

t.test('a service whose log nobody reads from a full pipe serves requests and ends on SIGTERM', async t => {
  const pipe = join(t.testdir(), 'pipe')
  execFileSync('mkfifo', [pipe])
  const fd = openSync(pipe, constants.O_RDWR | constants.O_NONBLOCK)
  t.teardown(() => closeSync(fd))
  const service = runInto(t, pipe, { LOG_LEVEL: 'debug' })
  const origin = await originOf(service)
  for (let round = 0; round < 50; round++) {
    const responses = await Promise.all(Array.from({ length: 20 }, () => call(`${origin}/nowhere`)))
    t.ok(responses.every(({ status }) => status === 404))
  }
  t.equal((await call(`${origin}/healthz`)).status, 200)
  t.equal(await end(service), 0)
  const buffer = Buffer.alloc(1024 * 1024)
  const written = readSync(fd, buffer)
  t.ok(written > 60_000, 'the pipe was full')
  t.match(buffer.toString('utf8', 0, written), /^\{"level":30,.*\n\{"level":20,/)
})

t.test('when the disk of the log was full, a line says how many were lost', async t => {
  const file = join(t.testdir(), 'log')
  const service = run(
    t, 'sh',
    [
      '-c', `exec "$0" --import 'data:text/javascript,process.on("SIGXFSZ",()=>{})' service/dist/cli.js > "${file}"`,
      process.execPath
    ],
    { PORT: '0', LOG: 'memory', LOG_LEVEL: 'debug' }
  )
  const origin = await originOf(service)
  const limit = (bytes: number | 'unlimited'): void => {
    execFileSync('prlimit', ['--pid', `${service.pid}`, `--fsize=${bytes}:unlimited`])
  }
  limit(1)
  for (let n = 0; n < 3; n++) t.equal((await call(`${origin}/nowhere`)).status, 404)
  limit('unlimited')
  t.equal((await call(`${origin}/nowhere`)).status, 404)
  t.equal(await end(service), 0)
  const lines = readFileSync(file, 'utf8').trim().split('\n').map(line => JSON.parse(line) as object)
  t.match(lines.find(line => 'lines' in line), { level: 40, lines: 3, reason: 'EFBIG: file too large, write' })
})

t.test('a command whose output cannot be written exits with 1 and says why', async t => {
  const JWT_SECRET = '3fK9dPq0sXzB7mLw2VtYcR8uHgJnE5aT6oIiU1'
  for (const args of ['--version', '--help', 'token']) {
    const command = runInto(t, '/dev/full', { JWT_SECRET }, args)
    t.equal(await command.exit(), 1, args)
    t.equal(command.err, 'resumable-sse: stdout: ENOSPC: no space left on device, write\n')
  }
})
