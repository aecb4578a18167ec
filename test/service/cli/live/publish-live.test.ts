import { once } from 'node:events'
import t from 'tap'
import { exitCodeOf } from '../../../../service/cli/signals.ts'
import { open } from '../../../support/clients/client.ts'
import { dataOf, eventsOf, producerOf, spawnPublish } from '../../../support/service/live-publish.ts'
import { LiveSender } from '../../../support/service/live-sender.ts'
import { until } from '../../../support/until.ts'
import { ScriptedServer } from '../../../support/network/scripted-server.ts'
import { TestService } from '../../../support/service/service-app.ts'
import { ServiceProcess } from '../../../support/service/service-process.ts'
import { CommandCall, runCommand } from '../../../support/processes/terminal.ts'
import { SECRET, sign } from '../../../support/auth/tokens.ts'

// `resumable-sse publish --live` against the real service; its behaviour under faults is in
// publish-live-faults.test.ts.

const live = (service: { origin: string }, ...args: string[]): CommandCall =>
  new CommandCall(['publish', '--live', '--url', service.origin, ...args])
const untilCount = (service: TestService, topic: string, count: number) =>
  until(async () => (await dataOf(service.origin, topic)).length === count)

t.test('each line is published when it is written, and the end of stdin closes the topic as done', async t => {
  const service = await TestService.start(t)
  const { inbox } = await open(t, `${service.origin}/events?topic=build/17`)
  const call = live(service, 'build/17')
  call.stdin.write('one\r\n\ntw')
  await inbox.until('data: one\n\n')
  await untilCount(service, 'build/17', 2)
  t.match(await producerOf(service.origin, 'build/17'), {
    state: 'live', producerId: new RegExp(`^.*\\.${process.pid}\\.[0-9a-f]{8}$`)
  })
  call.stdin.write('o €\n')
  await inbox.until('data: two €\n')
  call.stdin.end('three')
  t.same(await call.result(), { code: 0, out: '', err: 'resumable-sse: topic build/17 is done: 4 events\n' })
  t.match(await inbox.ended(), /event: stream.end\ndata: {"topic":"build\/17","reason":"done"}\n\n$/)
  t.same(await dataOf(service.origin, 'build/17'), ['one', '', 'two €', 'three'])
})

t.test('the topic is taken before the first line, and without lines the topic is done', async t => {
  const service = await TestService.start(t)
  const call = live(service, 'a')
  await until(async () => (await producerOf(service.origin, 'a'))?.state === 'live')
  call.stdin.end()
  t.match(await call.result(), { code: 0, err: /a is done: 0 events/ })
  t.match(await producerOf(service.origin, 'a'), { state: 'done', accepted: 0 })
})

t.test('text has the name of --event, NDJSON its own names, and an event stream names and data', async t => {
  const service = await TestService.start(t)
  const inputs = [
    [['--event', 'line'], 'a\n{"data":1}', [{ event: 'line', data: 'a' }, { event: 'line', data: '{"data":1}' }]],
    [['--ndjson', '--event', 'line'], '{"data":{"n":1.10}}\n\n{"event":"x","data":"y"}\n', [
      { event: 'line', data: '{"n":1.10}' }, { event: 'x', data: 'y' }
    ]],
    [
      ['--sse', '--event', 'line'],
      ':\nid: 7\nevent: x\ndata: a\ndata: b\n\nevent: stream.end\ndata\n\ndata: c\n\ndata: never complete',
      [{ event: 'x', data: 'a\nb' }, { event: 'line', data: 'c' }]
    ]
  ] as const
  for (const [flags, text, events] of inputs) {
    for (const mode of ['live', 'plain']) {
      const topic = `${mode}${flags[0]}`
      const call = new CommandCall([
        'publish', topic, '--url', service.origin, ...flags, ...(mode === 'live' ? ['--live'] : [])
      ])
      call.stdin.end(text)
      t.equal(await call.code, 0, call.err.text)
      t.match(await eventsOf(service.origin, topic), events, topic)
    }
  }
})

t.test('--echo writes stdin to stdout, byte by byte', async t => {
  const service = await TestService.start(t)
  const call = live(service, 'a', '--echo')
  call.stdin.write('\u001b[31mred\r\n')
  await call.out.until('red\r\n')
  call.stdin.write(Buffer.of(0xe2, 0x82))
  call.stdin.write(Buffer.of(0xac, 0x0a))
  const long = 'x'.repeat(50_000)
  call.stdin.end(long)
  t.match(await call.result(), { code: 0, out: `\u001b[31mred\r\n€\n${long}` })
  t.same(await dataOf(service.origin, 'a'), ['\u001b[31mred', '€', long])
})

t.test('a topic with another producer is rejected with the name of that one, and --take-over supersedes it', async t => {
  const service = await TestService.start(t)
  const first = live(service, 'a', '--producer-id', 'first')
  first.stdin.write('one\n')
  await untilCount(service, 'a', 1)
  t.match(await live(service, 'a').result(), {
    code: 1, out: '', err: /^resumable-sse: 409 TOPICS_PRODUCER_EXISTS: .*id=first.*; --take-over supersedes it\n$/
  })
  const second = live(service, 'a', '--take-over')
  t.match(await first.result(), {
    code: 1, err: /409 SERVICE_PRODUCER_ENDED: .*another producer has it; the log has 1 event of/
  })
  second.stdin.end('two\n')
  t.equal(await second.code, 0)
  t.same(await dataOf(service.origin, 'a'), ['one', 'two'])
  t.match(await live(service, 'a').result(), { code: 1, err: /409 TOPICS_CLOSED/ })
})

t.test('with --producer-id a command that is run again adds only the events that the topic does not have', async t => {
  const service = await TestService.start(t)
  const sender = new LiveSender(t, service.origin, 'a', { headers: { 'producer-id': 'ci-7' } })
  sender.write('one\ntwo\nthree\n')
  await untilCount(service, 'a', 3)
  await sender.break()
  const call = live(service, 'a', '--producer-id', 'ci-7')
  call.stdin.write('one\ntwo\n')
  call.stdin.end('three\nfour\n')
  t.match(await call.result(), { code: 0, err: /a is done: 4 events/ })
  t.same(await dataOf(service.origin, 'a'), ['one', 'two', 'three', 'four'])
})

t.test('a line that the service does not accept is an error with its number; the lines before it are published, and the topic is stopped', async t => {
  const service = await TestService.start(t, { MAX_EVENT_BYTES: '1024' })
  const long = 'x'.repeat(2_000)
  for (const [name, flags, text, message] of [
    [
      'long',
      [],
      `one\n${long}\nthree\n`,
      /^resumable-sse: 413 TOPICS_EVENT_TOO_LARGE: event on line 2: must be at most 1024/
    ],
    [
      'field',
      ['--ndjson'],
      '\n{"data":"one"}\n\n{"date":1}\n',
      /^resumable-sse: 400 TOPICS_BAD_EVENT: event on line 4: field "date" is unknown/
    ],
    ['json', ['--ndjson'], '{"data":"one"}\n{\n', /^resumable-sse: line 2 is not JSON/],
    ['name', ['--sse'], `data: one\n\nevent: ${'x\0'}\ndata\n\n`, /^resumable-sse: .*event.* before line 5: .*\n$/]
  ] as const) {
    const call = live(service, name, ...flags)
    call.stdin.write(text)
    t.match(await call.result(), { code: 1, out: '', err: message }, name)
    t.same(await dataOf(service.origin, name), ['one'])
    t.match(await producerOf(service.origin, name), { state: 'stopped' })
  }
})

t.test('without the right to publish, and without a service, it reports an error', async t => {
  const service = await TestService.start(t, { JWT_SECRET: SECRET })
  const token = await sign({ topics: { subscribe: ['*'], publish: ['other'] } })
  t.match(await live(service, 'a', '--token', token).result(), {
    code: 1, out: '', err: /^resumable-sse: 403 FST_SSE_FORBIDDEN: not allowed to publish to topic "a"/
  })
  t.match(await live(service, 'a').result(), { code: 1, err: /^resumable-sse: 401 / })
  const gone = await new CommandCall(['publish', '--live', 'a', '--wait', '0', '--url', 'http://127.0.0.1:1']).result()
  t.match(gone, {
    code: 1,
    err: /^resumable-sse: http:\/\/127.0.0.1:1 cannot be reached: .*; gave up after 0 s: the log has 0 of 0 events\n$/
  })
})

t.test('a response from another server is an error', async t => {
  const other = await ScriptedServer.start(t, response => { response.end('<html>') })
  for (const body of ['<html>', 'null']) {
    const { url } = await ScriptedServer.start(t, response => { response.end(body) })
    t.match(await live({ origin: url }, 'a').result(), { code: 1, err: /is this resumable-sse\?/ }, body)
  }
  const secure = await live({ origin: other.url.replace('http:', 'https:') }, 'a').result()
  t.match(secure, { code: 1, err: /cannot be reached/ }, 'TLS to a port without it is not retried')
})

t.test('a producer that is stopped ends the command', async t => {
  const service = await TestService.start(t)
  const call = live(service, 'a')
  call.stdin.write('one\n')
  await untilCount(service, 'a', 1)
  await service.call('/topics/a/stop', { method: 'POST' })
  t.match(await call.result(), {
    code: 1, err: /409 SERVICE_PRODUCER_ENDED: .* closed as "stopped"; the log has 1 event of/
  })
})

t.test('flags that need --live, and those that exclude each other, are named', async t => {
  for (const [argv, message] of [
    [['--echo'], '--echo needs --live'], [['--take-over'], '--take-over needs --live'],
    [['--producer-id', 'x'], '--producer-id needs --live'],
    [['--live', 'data'], '--live reads stdin: omit DATA'],
    [['--ndjson', '--sse'], '--ndjson and --sse cannot be combined'],
    [['--live', '--producer-id', 'a b'], '--producer-id must be 1 to 100 characters of A-Z a-z 0-9 . _ ~ -, saw "a b"'],
    [['--live', '--wait', 'x'], '--wait must be 0 or a duration such as 30s, 10m, 2h or 1d, saw "x"']
  ] as const) {
    t.match(await runCommand(['publish', 'a', ...argv]), { code: 2, err: `resumable-sse: ${message}\n` })
  }
})

t.test('on a terminal it says that it waits for lines', async t => {
  const service = await TestService.start(t)
  const call = new CommandCall(['publish', '--live', 'a', '--url', service.origin], {}, { isTerminal: true })
  await call.err.until('each line you type is published; press Ctrl-D to end\n')
  call.stdin.end('typed\n')
  t.equal(await call.code, 0)
})

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  t.test(`${signal} publishes the remaining output first, closes the topic as stopped, and sets the exit code of that signal`, async t => {
    const service = await ServiceProcess.start(t, { DURABILITY: 'process' })
    const child = spawnPublish(t, service.origin, 'a')
    let said = ''
    child.stderr.on('data', text => { said += text })
    child.stdin.write('one\n')
    await until(async () => (await dataOf(service.origin, 'a')).length === 1)
    child.kill(signal)
    child.stdin.write('interrupted\n')
    const [code] = await once(child, 'close')
    t.equal(code, exitCodeOf(signal))
    t.equal(said, `resumable-sse: ${signal}: the topic is closed as stopped, with 2 events\n`)
    t.same(await dataOf(service.origin, 'a'), ['one', 'interrupted'])
    t.match(await producerOf(service.origin, 'a'), { state: 'stopped' })
  })
}

t.test('a signal while the service is unavailable also ends it, and reports that the topic stays open', async t => {
  const call = live({ origin: 'http://127.0.0.1:1' }, 'a')
  call.stdin.write('one\n')
  await call.err.until('waiting up to 60 s\n')
  call.leave()
  t.match(await call.result(), {
    code: exitCodeOf('SIGINT'),
    err: /\nresumable-sse: SIGINT: the topic stays open until its lease ends, with 0 events\n$/
  })
})

t.test('a second signal ends it at once, and the topic stays open until the lease expires', async t => {
  const service = await ServiceProcess.start(t, { DURABILITY: 'process' })
  const child = spawnPublish(t, service.origin, 'a', process.env)
  child.stdin.write('one\n')
  await until(async () => (await dataOf(service.origin, 'a')).length === 1)
  service.command.kill('SIGSTOP')
  child.kill('SIGINT')
  child.kill('SIGTERM')
  const [code] = await once(child, 'close') as [number]
  // Both may be pending at once, and then either is delivered first.
  t.ok([exitCodeOf('SIGINT'), exitCodeOf('SIGTERM')].includes(code), String(code))
  service.command.kill('SIGCONT')
  t.match(await producerOf(service.origin, 'a'), { state: 'live' })
})
