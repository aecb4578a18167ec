import { createServer } from 'node:http'
import { once } from 'node:events'
import { PassThrough, Writable } from 'node:stream'
import type { AddressInfo } from 'node:net'
import type { IncomingMessage, ServerResponse } from 'node:http'
import t from 'tap'
import type { Test } from 'tap'
import { TestService } from '../../../support/service/service-app.ts'
import { ServiceProcess } from '../../../support/service/service-process.ts'
import { CommandCall, runCommand } from '../../../support/processes/terminal.ts'
import { stablePort } from '../../../support/network/ports.ts'
import { main } from '../../../../service/cli/main.ts'
import { until } from '../../../support/until.ts'

// `resumable-sse tail` against the real service.

/** Starts the command, and ends it with the test. */
function tail (t: Test, argv: string[], env: Record<string, string> = {}): CommandCall {
  const call = new CommandCall(['tail', ...argv], env)
  t.teardown(() => {
    call.leave()
    return call.code
  })
  return call
}

t.test('it prints id, name and data of each event, and exits with 0 when it is stopped', async t => {
  const service = await TestService.start(t)
  await service.publish('news', [{ data: 'one' }, { event: 'score', data: { home: 1 } }])
  const call = tail(t, ['news', '--url', service.origin, '--last', '10'])
  await service.publish('news', { data: 'two\nlines' })
  await call.out.until('lines')
  call.leave()
  t.equal(await call.code, 0)
  t.match(call.out.text, /^\d+-1 message one\n\d+-2 score {"home":1}\n\d+-3 message two\\nlines\n$/)
  t.equal(call.err.text, 'resumable-sse: listening\n')
})

t.test('with --json it prints an object per line', async t => {
  const service = await TestService.start(t)
  await service.publish('news', [{ data: 'one' }, { event: 'score', data: 'two\nlines' }])
  const call = tail(t, ['news', '--json', '--since', '1h'], { RESUMABLE_SSE_URL: service.origin })
  await call.out.until('lines')
  const [one, two] = call.out.text.trim().split('\n').map(line => JSON.parse(line) as { id: string })
  t.match(one, { id: /^\d+-1$/, event: 'message', data: 'one' })
  t.match(two, { id: /^\d+-2$/, event: 'score', data: 'two\nlines' })
})

t.test('--after starts after an id; finished topics are reported, and the exit code is 0', async t => {
  const service = await TestService.start(t)
  const { json } = await service.publish('a', [{ data: '1' }, { data: '2' }])
  await service.call('/topics/a/close', { method: 'POST' })
  await service.call('/topics/b/close', { method: 'POST' })
  const { ids: [id = ''] } = json as { ids: string[] }
  const both = tail(t, ['a', '--after', id, '--url', service.origin])
  t.equal(await both.code, 0)
  t.match(both.out.text, /^\d+-2 message 2\n$/)
  t.equal(both.err.text, 'resumable-sse: listening\nresumable-sse: topic a is finished: these were all its events\n')
})

t.test('with several topics each line names its topic, and the command ends when all are finished', async t => {
  const service = await TestService.start(t)
  await service.publish('b', [{ data: 'b1' }])
  await service.publish('a', [{ data: 'a1' }])
  const call = tail(t, ['b', 'a', 'b', '--last', '10', '--url', service.origin])
  await call.out.until('a1\n')
  await service.publish('b', [{ data: 'b2', event: 'x' }, { data: 'b3' }])
  await service.call('/topics/a/close', { method: 'POST' })
  await service.call('/topics/b/close', { method: 'POST' })
  t.equal(await call.code, 0)
  t.same(call.out.text.trim().split('\n').map(line => line.split(' ').slice(1).join(' ')).sort(), [
    'a message a1', 'b message b1', 'b message b3', 'b x b2'
  ])
  t.match(call.err.text, /topic a is finished: these were all its events\n/)
  const cursor = call.out.text.split(' ')[0]!
  const json = tail(t, ['a', 'b', '--json', '--after', cursor, '--url', service.origin])
  t.equal(await json.code, 0)
  t.same(json.out.text.trim().split('\n').map(line => JSON.parse(line) as unknown).at(-1), {
    id: call.out.text.trim().split('\n').at(-1)!.split(' ')[0], topic: 'b', event: 'message', data: 'b3'
  })
})

// Regression: a publisher could move the cursor, set the colours and title of the terminal, and forge lines.
t.test('data from a publisher is printed on one line without control characters, on a terminal and in files', async t => {
  const service = await TestService.start(t)
  const controls = [
    ...Array.from({ length: 31 }, (_, at) => at + 1), ...Array.from({ length: 33 }, (_, at) => at + 0x7f), 0x202e,
    0x2066, 0x2028
  ]
  const data = controls.map(code => String.fromCharCode(code)).join('')
  await service.publish('news', [
    { data: `x\n1795656361789-9 message forged ${data}`, event: `n${data.replace(/[\r\n]/g, '')}` }, { data: 'end' }
  ])
  for (const flags of [[], ['--json']]) {
    const call = tail(t, ['news', '--last', '10', ...flags, '--url', service.origin])
    await call.out.until('end')
    t.equal(call.out.text.trimEnd().split('\n').length, 2)
    // eslint-disable-next-line no-control-regex -- what must not be there
    t.notMatch(call.out.text.replaceAll('\n', ''), /[\u0000-\u001f\u007f-\u009f\u202e\u2066\u2028]/)
    t.match(call.out.text, flags.length > 0
      ? /forged .*\\u001b.*\\u009b/
      : /^\d+-\d+ n\\u0001.*x\\n1795656361789-9 message forged \\u0001.*\\t\\n.*\\u001b.*\\u007f.*\\u009b.*\\u202e/)
  }
  const url = await startScript(t, response => response.writeHead(400).end('{"code":"X","message":"bad\\u001b[31m"}'))
  t.match(await runCommand(['tail', 'news', '--url', url]), { code: 1, err: 'resumable-sse: 400 X: bad\\u001b[31m\n' })
})

t.test('a permanent failure ends it with a reason, and the reason for a missing stream is printed', async t => {
  t.match(await runCommand(['tail', 'news', '--url', 'http://127.0.0.1:1']), {
    code: 1, err: 'resumable-sse: http://127.0.0.1:1 cannot be reached: bad port\n'
  })
  t.match(await runCommand(['tail', 'build/*']), { code: 2, err: /tail accepts no wildcards, saw "build\/\*"/ })
  for (const topics of [[], ['']]) {
    t.match(await runCommand(['tail', ...topics]), { code: 2, err: /tail needs a topic/ })
  }
  const call = tail(t, ['news', '--url', `http://127.0.0.1:${await stablePort()}`])
  await call.err.until(text => /no stream, trying again in \d+ ms\n/.test(text))
  t.match(call.err.text, /^resumable-sse: http:.* cannot be reached: connect ECONNREFUSED .*\nresumable-sse: no stream/)
})

t.test('a gap is reported, with the number of missed events', async t => {
  const service = await TestService.start(t, { MAX_EVENTS: '2' })
  await service.publish('news', [{ data: '1' }, { data: '2' }, { data: '3' }, { data: '4' }])
  const call = tail(t, ['news', '--after', '0-0', '--url', service.origin])
  await call.out.until('message 4\n')
  t.match(call.out.text, /^\d+-3 message 3\n\d+-4 message 4\n$/)
  t.match(
    call.err.text,
    /^resumable-sse: listening\nresumable-sse: stream.gap {"topic":"news",.*"reason":"trimmed","missed":2}\n$/
  )
})

t.test('the service killed and started again: it reconnects by itself, and prints each event once', async t => {
  const service = await ServiceProcess.start(t)
  const { origin } = service
  const publish = (body: string): Promise<Response> =>
    fetch(`${origin}/topics/news/events`, { method: 'POST', body, headers: { connection: 'close' } })
  await publish('one')
  const call = tail(t, ['news', '--after', '0-0', '--url', origin])
  await call.out.until('message one\n')
  await service.kill()
  await call.err.until(text => /no stream, trying again in \d+ ms\n/.test(text))
  await service.start()
  await publish('two')
  await call.out.until('message two\n')
  await publish('three')
  await call.out.until('message three\n')
  t.match(call.out.text, /^\d+-1 message one\n\d+-\d+ message two\n\d+-\d+ message three\n$/)
})

t.test('a permanent rejection is printed, and the exit code is 1', async t => {
  const service = await TestService.start(t)
  t.match(await runCommand(['tail', 'no topic', '--url', service.origin]), {
    code: 1, out: '', err: /^resumable-sse: 400 TOPICS_BAD_TOPIC: topic must be .*\n$/
  })
})

/** A server that sends the given responses one after another. */
async function startScript (
  t: Test,
  ...answers: ((response: ServerResponse, request: IncomingMessage) => unknown)[]
): Promise<string> {
  const left = [...answers]
  const server = createServer((request, response) => left.shift()?.(response, request))
  t.teardown(() => { server.close().closeAllConnections() })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

t.test('it retries after temporary failures: errors of a proxy, and streams that break; `retry:` sets the delay', async t => {
  const cursors: unknown[] = []
  const url = await startScript(t,
    response => response
      .writeHead(200, { 'content-type': 'text/event-stream' })
      .end('retry: 10\n\nid: 5-5\nevent: stream.open\ndata\n\n'),
    response => response.writeHead(502).end('<html>'),
    response => response.writeHead(429).end(),
    response => response.writeHead(408).end(),
    (response, { headers }) => {
      cursors.push(headers['last-event-id'], headers.authorization)
      response.writeHead(200, { 'content-type': 'text/event-stream' }).write('id: 6-6\ndata: x\n\ndata: half')
      setImmediate(() => response.destroy())
    },
    (response, { headers }) => {
      cursors.push(headers['last-event-id'])
      response.writeHead(204).end()
    })
  const call = tail(t, ['news', '--token', 'secret', '--url', url])
  t.equal(await call.code, 0)
  t.equal(call.out.text, '6-6 message x\n')
  const lines = call.err.text.trimEnd().replaceAll('resumable-sse: ', '').split('\n')
  const again = /^no stream, trying again in \d+ ms$/
  const refusals = [
    '502 Bad Gateway', '429 Too Many Requests', '408 Request Timeout'
  ].flatMap(refusal => [refusal, again])
  t.match(lines, ['listening', again, ...refusals, 'listening', 'the connection was lost', again])
  t.equal(lines.length, 11)
  t.same(cursors, ['5-5', 'Bearer secret', '6-6'])
})

t.test('the reason of the end is printed, and a command that is stopped while it connects exits with 0', async t => {
  const url = await startScript(t, response => response
    .writeHead(200, { 'content-type': 'text/event-stream' })
    .end('event: stream.end\ndata: {"topic":"news","reason":"done"}\n\n'))
  t.match(await runCommand(['tail', 'news', '--url', url]), {
    code: 0, err: /\nresumable-sse: topic news is finished \(done\): these were all its events\n$/
  })
  let ask: () => void
  const asked = new Promise<void>(resolve => { ask = resolve })
  const call = tail(t, ['news', '--url', await startScript(t, () => ask())])
  await asked
  call.leave()
  t.equal(await call.code, 0)
})

t.test('a response that is not a stream ends it, and an event of an unknown topic is marked', async t => {
  const html = await startScript(t, response => response.writeHead(200, { 'content-type': 'text/html' }).end('<html>'))
  const expected = 'resumable-sse: expected content-type text/event-stream, saw "text/html"\n'
  t.match(await runCommand(['tail', 'news', '--url', html]), { code: 1, err: expected })
  const stream = 'id: 1-1\ndata: no envelope\n\nevent: stream.end\ndata: {"topic":"a"}\n\nevent: stream.end\ndata: ' +
    '{"topic":"b"}\n\n'
  for (const [flags, line] of [
    [[], '1-1 ? message no envelope\n'],
    [['--json'], '{"id":"1-1","topic":"?","event":"message","data":"no envelope"}\n']
  ] as const) {
    const url = await startScript(
      t,
      response => response.writeHead(200, { 'content-type': 'text/event-stream' }).end(stream)
    )
    t.match(await runCommand(['tail', 'a', 'b', ...flags, '--url', url]), { code: 0, out: line })
  }
})

t.test('it waits until its output is read', async t => {
  const service = await TestService.start(t)
  await service.publish('news', [{ data: 'one' }, { data: 'two' }, { data: 'three' }])
  const leaving = new AbortController()
  const written: string[] = []
  let release: (() => void) | undefined
  const stdout = new Writable({
    highWaterMark: 1,
    write (chunk, encoding, done) {
      written.push(String(chunk))
      release = done
    }
  })
  const { signal } = leaving
  const stdio = {
    stdin: new PassThrough(), stdout, stderr: new PassThrough().resume(), signal, catchSignals: () => signal
  }
  const code = main(['tail', 'news', '--last', '10', '--url', service.origin], {}, stdio)
  await until(() => written.length === 1)
  t.equal(stdout.writableLength, written[0]!.length, 'nothing more was written')
  release!()
  await until(() => written.length === 2)
  t.match(written.map(line => line.split(' ').at(-1)), ['one\n', 'two\n'])
  leaving.abort()
  t.equal(await code, 0)
})
