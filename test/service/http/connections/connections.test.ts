import { writeFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { join } from 'node:path'
import t from 'tap'
import { connectionLimit, openFilesLimit } from '../../../../service/http/connections/connection-limit.ts'
import { connect, get, open } from '../../../support/clients/client.ts'
import { run } from '../../../support/processes/commands.ts'
import { metricsOf } from '../../../support/service/metrics.ts'
import { TestService } from '../../../support/service/service-app.ts'
import { until } from '../../../support/until.ts'

// Regression: connections without a stream were not counted, so 110 idle sockets silently locked everybody out of a
// process with `ulimit -n 120`, and 10,000 requests pipelined behind one stream used 100 MB.

const EVENTS = '/events?topic=news'
const PIPELINED = 10_000

const cut = async (origin: string, reason: string): Promise<number | undefined> =>
  (await metricsOf(origin)).get(`sse_connections_cut_total{reason="${reason}"}`)

/** Counts the requests that reach the service. */
function countRequests ({ app }: TestService): () => number {
  let count = 0
  app.server.on('request', () => { count++ })
  return () => count
}

t.test('a connection that pipelines requests behind a stream is closed, and the number of them that are processed does not grow with the number sent', async t => {
  const service = await TestService.start(t, { MAX_STREAMS: '5' })
  const requests = countRequests(service)
  const counted: number[] = []
  for (const pipelined of [1_000, PIPELINED]) {
    const { socket, inbox, send } = await connect(t, service.origin)
    send(get(EVENTS))
    await inbox.until('stream.open')
    const before = requests()
    send(get(EVENTS).repeat(pipelined))
    await inbox.ended()
    counted.push(requests() - before)
    socket.destroy()
  }
  t.ok(
    counted[1]! < 3 * Math.max(counted[0]!, 1_500),
    `no more than about one chunk is processed: ${counted.join(', ')}`
  )
  t.equal(await cut(service.origin, 'pipelining'), 2)
  await until(() => service.app.topics.counts.topics === 0)
})

// Regression: some were not counted, and 50 connections kept 300 MB for as long as their streams were open.
const UNUSUAL = {
  'with an unknown expectation': get('/healthz', { headers: 'Expect: cake\r\n' }),
  'whose request line says HTTP/2.0': 'GET /healthz HTTP/2.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n',
  'whose request line says HTTP/0.9': 'GET /healthz HTTP/0.9\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n'
}
for (const [name, request] of Object.entries(UNUSUAL)) {
  t.test(`requests ${name} count among those that are pipelined behind a stream`, async t => {
    const service = await TestService.start(t)
    const { inbox, send } = await connect(t, service.origin)
    send(get(EVENTS))
    await inbox.until('stream.open')
    send(request.repeat(10))
    await inbox.ended()
    t.equal(await cut(service.origin, 'pipelining'), 1)
  })
}

t.test('a stream is recognised however its path is written', async t => {
  const service = await TestService.start(t)
  const paths = ['/%65vents?topic=news', '/events#topic=news', `${service.origin}${EVENTS}`]
  for (const path of paths) {
    const { inbox, send } = await connect(t, service.origin)
    send(get(path))
    await inbox.until('stream.open')
    send(get('/healthz').repeat(10))
    await inbox.ended()
  }
  t.equal(await cut(service.origin, 'pipelining'), paths.length)
})

t.test('a few requests may wait behind a stream, and other responses are sent first', async t => {
  const service = await TestService.start(t)
  const { inbox, send } = await connect(t, service.origin)
  send(get('/healthz') + get('/healthz') + get(EVENTS) + get('/healthz').repeat(4))
  const text = await inbox.until('stream.open')
  t.equal(text.match(/HTTP\/1\.1 200/g)?.length, 3)
  await service.publish('news', { data: 'goes on' })
  await inbox.until('data: goes on')
  t.equal(await cut(service.origin, 'pipelining'), 0)
})

// Regression: the requests that 20 connections sent at once, 1 MB, kept all other clients waiting for seconds.
t.test('requests that were sent together are not all handled in the turn in which they are read, so that other clients get theirs', async t => {
  const service = await TestService.start(t)
  const { inbox, send } = await connect(t, service.origin)
  let [read, handled] = [0, 0]
  const turn: { read?: number, handled?: number } = {}
  service.app.server.prependListener('request', (request: IncomingMessage, response: ServerResponse) => {
    if (read++ === 0) setImmediate(() => { Object.assign(turn, { read, handled }) })
    const { writeHead } = response
    response.writeHead = (...args: never[]) => {
      handled++
      return Reflect.apply(writeHead, response, args) as ServerResponse
    }
  })
  send(get('/healthz').repeat(1_000) + get('/healthz', { headers: 'Connection: close\r\n' }))
  t.equal((await inbox.ended()).match(/HTTP\/1\.1 200/g)?.length, 1_001)
  t.ok(turn.read! > 100, `${turn.read} were read in the first turn`)
  t.equal(turn.handled, 1)
})

t.test('any number of requests without a stream may be pipelined: all get a response, and only some of them wait at a time', async t => {
  const service = await TestService.start(t)
  let [open, most] = [0, 0]
  service.app.server.on('request', (request, response) => {
    most = Math.max(most, ++open)
    response.once('close', () => { open-- })
  })
  const { inbox, send } = await connect(t, service.origin)
  send(get('/topics/news').repeat(PIPELINED) + get('/healthz', { headers: 'Connection: close\r\n' }))
  const text = await inbox.ended()
  t.equal(text.match(/HTTP\/1\.1 200/g)?.length, PIPELINED + 1)
  t.ok(most < PIPELINED / 4, `at most ${most} at a time`)
  t.equal(await cut(service.origin, 'pipelining'), 0)
})

t.test('more connections than streams are allowed, but their number is limited', t => {
  t.equal(connectionLimit(20_000, undefined), 25_000)
  t.equal(connectionLimit(10, undefined), 1_010)
  t.equal(
    connectionLimit(20_000, 1_024),
    960,
    'the limit of the system, except for the files that the process itself needs'
  )
  t.equal(connectionLimit(0, 10), 1)
  t.equal(connectionLimit(0, undefined), Infinity)
  t.end()
})

t.test('the limit on open files is read from the system where available', t => {
  const folder = t.testdir()
  const read = (text: string): number | undefined => {
    const file = join(folder, 'limits')
    writeFileSync(file, text)
    return openFilesLimit(file)
  }
  t.equal(read(
    'Limit     Soft Limit   Hard Limit   Units\nMax open files            1024                 524288               ' +
      'files     \n'
  ), 1_024)
  t.equal(read('Max open files            unlimited            unlimited            files     \n'), undefined)
  t.equal(openFilesLimit(join(folder, 'not there')), undefined)
  t.end()
})

t.test('at its limit the process closes further connections, logs this once, and keeps the existing ones', async t => {
  const service = run(t, 'sh', [
    '-c',
    `ulimit -n 120; exec "${process.execPath}" --conditions=resumable-sse-source --import ./test/type-stripping/register.js service/cli.ts`
  ], { LOG: 'memory', LOG_LEVEL: 'warn', PORT: '0' })
  await service.until(({ err }) => err.includes('listens on'))
  const [, origin = ''] = /listens on (\S+)/.exec(service.err)!
  const { inbox } = await open(t, `${origin}${EVENTS}`)
  await inbox.until('stream.open')
  for (let at = 0; at < 60; at++) await connect(t, origin)
  await service.until(({ out }) => out.includes('connection limit reached'))
  t.match(JSON.parse(service.out.trim()), { level: 40, maxConnections: 56 })
  t.notOk(inbox.isOver)
})
