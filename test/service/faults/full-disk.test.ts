import { spawn } from 'node:child_process'
import { once } from 'node:events'
import t from 'tap'
import type { FastifyBaseLogger } from 'fastify'
import { logLibraryOutput } from '../../../service/cli/library-output.ts'
import { open } from '../../support/clients/client.ts'
import { originIn, run } from '../../support/processes/commands.ts'
import { call } from '../../support/service/service-app.ts'

/** Makes a write beyond the file size limit fail, as on a full disk, instead of ending the process. */
const SURVIVE = ['--import', 'data:text/javascript,process.on("SIGXFSZ",()=>{})']

async function bound (pid: number, bytes: number | 'unlimited'): Promise<void> {
  await once(spawn('prlimit', ['--pid', `${pid}`, `--fsize=${bytes}:unlimited`]), 'exit')
}

// Regression: LMDB printed raw lines among the JSON ones.
t.test('on a full disk publishes get 503, streams and reads continue, the log stays JSON, and all recovers when there is space', async t => {
  const service = run(t, process.execPath, [...SURVIVE, 'service/dist/cli.js'], { PORT: '0', DATA_DIR: t.testdir() })
  await service.until(({ err }) => err.includes('listens on '))
  const origin = originIn(service.err)
  const banner = service.err
  const publish = (data: string) =>
    call(`${origin}/topics/news/events`, { method: 'POST', body: data, type: 'text/plain' })
  const { inbox } = await open(t, `${origin}/events?topic=news`)
  await inbox.until('stream.open')
  t.equal((await publish('before')).status, 201)
  await bound(service.pid, 100_000)
  const refused = await Promise.all(Array.from({ length: 20 }, () => publish('x'.repeat(200_000))))
  t.same(refused.map(({ status }) => status), refused.map(() => 503))
  t.match(refused[0]!.json, { code: 'TOPICS_LOG_UNAVAILABLE' })
  t.match((await call(`${origin}/topics/news`)).json, { count: 1 })
  t.match(await call(`${origin}/readyz`), {
    status: 200, json: { checks: { log: { isOk: true, problem: /is the disk of .* full\?$/ } } }
  }, 'it can still be read')
  await bound(service.pid, 'unlimited')
  t.equal((await publish('after')).status, 201)
  t.notMatch((await call(`${origin}/readyz`)).text, 'problem')
  await inbox.until('data: after\n\n')
  t.match(inbox.text, 'data: before\n\n')
  await service.stop()
  t.equal(service.err, banner, 'nothing but the banner')
  const lines = service.out.trim().split('\n')
  t.doesNotThrow(() => { for (const line of lines) JSON.parse(line) })
  t.ok(lines.filter(line => line.includes('printed by a library')).length <= 2, 'the same text once')
})

t.test('output of a library becomes a line of the log at its level, and repeated lines are written once a minute', async t => {
  const kept = { ...console }
  t.teardown(() => { Object.assign(console, kept) })
  const lines: unknown[] = []
  const logger = Object.fromEntries(['debug', 'info', 'warn', 'error'].map(level => [
    level, ({ output }: { output: string }) => { lines.push([level, output]) }
  ])) as unknown as FastifyBaseLogger
  let nowMs = 0
  logLibraryOutput(logger, () => nowMs)
  console.log('one %d', 1)
  console.info('two')
  console.debug({ a: 1 })
  for (const ms of [0, 59_999, 60_000, 60_001]) {
    nowMs = ms
    console.warn('again')
  }
  console.error(Object.assign(new Error('full'), { stack: 'Error: full' }))
  t.same(lines, [['info', 'one 1'], ['info', 'two'], ['debug', '{ a: 1 }'], ['warn', 'again'], [
    'warn', 'again'
  ], ['error', '[Error: full]']])
})
