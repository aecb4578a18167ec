import { once } from 'node:events'
import { existsSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import { run, runService } from '../support/processes/commands.ts'
import type { Command } from '../support/processes/commands.ts'
import { certificateFiles } from '../support/network/http2-client.ts'
import { stablePort } from '../support/network/ports.ts'
import { RedisServer } from '../support/redis/redis-server.ts'
import { childrenOf, isGone } from '../support/processes/team.ts'
import { until } from '../support/until.ts'

// Regression: a process that was stopped before it listened was killed by the signal, and with workers the exit code
// was 1: a deployment that was rolled back at once looked like a crash. As process 1 of a container it ignored the
// signal until it was killed.

/** A service that waits for a Redis which accepts connections but never answers. */
async function startWaiting (t: Test, env: Record<string, string>): Promise<Command> {
  const silent = createServer().listen(0, '127.0.0.1')
  await once(silent, 'listening')
  t.teardown(() => { silent.close() })
  silent.on('connection', socket => {
    socket.on('error', () => {})
    t.teardown(() => { socket.destroy() })
  })
  const connected = once(silent, 'connection')
  const { port } = silent.address() as AddressInfo
  const service = runService(t, { REDIS_URL: `redis://127.0.0.1:${port}`, ...env })
  await connected
  return service
}

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  t.test(`${signal} while the service starts ends it with exit code 0`, async t => {
    const service = await startWaiting(t, {})
    service.kill(signal)
    t.equal(await service.exit(), 0, service.err)
  })
}

t.test('it also does so from the first moment at which a signal can be handled', async t => {
  const code = "process.on('newListener', name => { if (name === 'SIGTERM') setImmediate(() => " +
    'process.kill(process.pid, name)) })'
  const service = run(t, process.execPath, [
    `--import=data:text/javascript,${encodeURIComponent(code)}`, 'service/dist/cli.js'
  ], {
    PORT: '0',
    DATA_DIR: t.testdir()
  })
  t.equal(await service.exit(), 0, service.err)
  t.notMatch(service.err, 'listens on')
})

t.test('SIGTERM while workers start ends the primary and the workers with exit code 0', async t => {
  const service = await startWaiting(t, { WORKERS: '2', PORT: `${await stablePort()}` })
  service.kill('SIGTERM')
  t.equal(await service.exit(), 0, service.err)
  t.notMatch(service.out, 'starting a replacement')
})

t.test('SIGTERM to the first worker alone, as systemd may send it first, ends the primary with exit code 0 too', async t => {
  const service = await startWaiting(t, { WORKERS: '2', PORT: `${await stablePort()}` })
  for (const pid of childrenOf(service.pid)) process.kill(pid, 'SIGTERM')
  // On a machine that is stalled for seconds, the worker may be listening by now, and a replacement starting.
  service.until(({ out }) => out.includes('Server listening')).then(() => service.kill('SIGTERM'), () => {})
  t.equal(await service.exit(), 0, service.err)
})

// Regression: the signal ended a worker that did not listen yet, and before any worker listened, the whole service.
t.test('SIGHUP while workers start ends none of them, and the certificate is read again', async t => {
  const { cert, key } = certificateFiles(t)
  const service = await startWaiting(t, { WORKERS: '2', PORT: `${await stablePort()}`, TLS_CERT: cert, TLS_KEY: key })
  service.kill('SIGHUP')
  await service.until(({ out }) => out.includes('the certificate was reloaded'))
  t.notMatch(service.out, 'a worker exited')
})

// Regression: the stack of an unhandled EPIPE on stderr.
t.test('a worker whose primary is killed while it starts prints nothing', async t => {
  const code = `
    import cluster from 'node:cluster'
    import { existsSync, writeFileSync } from 'node:fs'
    import { Server } from 'node:net'
    const { listen } = Server.prototype
    Server.prototype.listen = function (...args) {
      if (cluster.isPrimary) return listen.apply(this, args)
      writeFileSync(process.env.FOLDER + '/waits', '')
      while (!existsSync(process.env.FOLDER + '/goes')) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10)
      return listen.apply(this, args)
    }`
  const folder = t.testdir()
  const redis = await RedisServer.start(t)
  const service = run(t, process.execPath, [
    `--import=data:text/javascript,${encodeURIComponent(code)}`, 'service/dist/cli.js'
  ], { WORKERS: '2', PORT: `${await stablePort()}`, REDIS_URL: redis.url, FOLDER: folder })
  await until(() => existsSync(join(folder, 'waits')))
  service.kill('SIGKILL')
  await until(() => isGone(service.pid))
  writeFileSync(join(folder, 'goes'), '')
  await service.exit()
  t.equal(service.err, '')
})
