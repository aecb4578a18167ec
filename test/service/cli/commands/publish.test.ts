import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import type { IncomingMessage, ServerResponse } from 'node:http'
import t from 'tap'
import type { Test } from 'tap'
import { run, startService } from '../../../support/processes/commands.ts'
import { stablePort } from '../../../support/network/ports.ts'
import { fetchAll } from '../../../support/clients/client.ts'
import { TestService } from '../../../support/service/service-app.ts'
import { ServiceProcess } from '../../../support/service/service-process.ts'
import { CommandCall, runCommand } from '../../../support/processes/terminal.ts'

// `resumable-sse publish` against the real service.

/** All events of a topic, as [name, data]; closes the topic. */
async function eventsOf (t: Test, service: TestService, topic: string): Promise<string[][]> {
  await service.call(`/topics/${topic}/close`, { method: 'POST' })
  const { text } = await fetchAll(t, `${service.origin}/events?topic=${topic}&lastEventId=0-0`)
  return text.split('\n\n').filter(block => /^id: .*\n(event: (?!stream)|data)/.test(block)).map(block => [
    /^event: (.*)$/m.exec(block)?.[1] ?? '',
    [...block.matchAll(/^data: ?(.*)$/gm)].map(([, line]) => line).join('\n')
  ])
}

t.test('data given as an argument is one event, whatever it contains, and its id is printed', async t => {
  const service = await TestService.start(t)
  const { code, out, err } = await runCommand([
    'publish', 'news', 'two words\nand a line', '--url', `${service.origin}/`
  ])
  t.same({ code, err }, { code: 0, err: '' })
  t.match(out, /^\d{13}-1\n$/)
  t.match(await runCommand(['publish', 'news', '{"home":1}', '--event=score'], { RESUMABLE_SSE_URL: service.origin }), {
    code: 0, out: /^\d{13}-2\n$/
  })
  t.same(await eventsOf(t, service, 'news'), [['', 'two words\nand a line'], ['score', '{"home":1}']])
})

t.test('each line of stdin is an event, including a last one without a line break; CR LF ends a line as LF does', async t => {
  const service = await TestService.start(t)
  const call = new CommandCall(['publish', 'orders/7', '--url', service.origin])
  call.stdin.write('one\r')
  call.stdin.write('\n\ntwo €')
  call.stdin.end('\nthree')
  const { code, out } = await call.result()
  t.equal(code, 0)
  t.equal(out.split('\n').length, 5)
  t.same(await eventsOf(t, service, 'orders%2F7'), [['', 'one'], ['', ''], ['', 'two €'], ['', 'three']])
})

t.test('a line is published when it arrives, not when stdin ends', async t => {
  const service = await TestService.start(t)
  const call = new CommandCall(['publish', 'news', '--url', service.origin])
  call.stdin.write('first\nhalf')
  await call.out.until('-1\n')
  call.stdin.end(' of it\n')
  t.equal(await call.code, 0)
  t.same(await eventsOf(t, service, 'news'), [['', 'first'], ['', 'half of it']])
})

t.test('without lines, no events are published', async t => {
  const service = await TestService.start(t)
  t.same(await runCommand(['publish', 'news', '--url', service.origin]), { code: 0, out: '', err: '' })
})

t.test('many lines are published in batches, in their order', async t => {
  const service = await TestService.start(t)
  const call = new CommandCall(['publish', 'news', '--url', service.origin])
  const lines = Array.from({ length: 2_500 }, (_, at) => `${at}`)
  call.stdin.end(lines.join('\n'))
  const { out } = await call.result()
  t.same(out.trim().split('\n').map(id => Number(id.split('-')[1])), lines.map((_, at) => at + 1))
  t.same((await eventsOf(t, service, 'news')).map(([, data]) => data), lines)
})

t.test('with --ndjson each line is an event with its own name and data; empty lines are ignored', async t => {
  const service = await TestService.start(t)
  const call = new CommandCall(['publish', 'news', '--ndjson', '--event', 'default', '--url', service.origin])
  call.stdin.end('{"data":{"a":1}}\n\n{"event":"own","data":"x"}\n')
  t.equal(await call.code, 0)
  t.same(await eventsOf(t, service, 'news'), [['default', '{"a":1}'], ['own', 'x']])
})

t.test('with --ndjson data is published exactly as written', async t => {
  const service = await TestService.start(t)
  const call = new CommandCall(['publish', 'news', '--ndjson', '--event', 'n', '--url', service.origin])
  call.stdin.end(' { "data" : {"id":9007199254740993,"2":1.10,"1":1e400} }\r\n')
  t.equal(await call.code, 0)
  t.same(await eventsOf(t, service, 'news'), [['n', '{"id":9007199254740993,"2":1.10,"1":1e400}']])
  for (const line of ['{}', '[1]', 'null', '7']) {
    const call = new CommandCall(['publish', 'other', '--ndjson', '--event', 'n', '--url', service.origin])
    call.stdin.end(line)
    t.match(await call.result(), {
      code: 1,
      err: /^resumable-sse: line 1: 400 TOPICS_BAD_EVENT: event on line 1: (must be an object|field "data" is missing)/
    }, line)
  }
})

t.test('a line that is not JSON is reported with its number, and nothing in its batch is published', async t => {
  const service = await TestService.start(t)
  const call = new CommandCall(['publish', 'news', '--ndjson', '--url', service.origin])
  call.stdin.write('{"data":"one"}\n')
  await call.out.until('-1\n')
  call.stdin.end('{"data":"two"}\n{data}\n')
  t.match(await call.result(), { code: 1, err: /^resumable-sse: line 3 is not JSON: / })
  t.match(await service.counts('news'), [{ count: 1 }])
})

t.test('an error of the service is printed once as it was sent, and the exit code is 1', async t => {
  const service = await TestService.start(t)
  t.same(await runCommand(['publish', 'no topic', 'x', '--url', service.origin]), {
    code: 1,
    out: '',
    err: 'resumable-sse: 400 TOPICS_BAD_TOPIC: topic must be 1 to 200 characters of A-Z a-z 0-9 . _ ~ : @ / - ' +
      'beginning with a letter or digit, saw "no topic"\n'
  })
})

/** A server that sends the given responses one after another, and records its requests. */
async function startScript (
  t: Test,
  ...answers: ((response: ServerResponse) => unknown)[]
): Promise<{ url: string, asked: IncomingMessage[] }> {
  const asked: IncomingMessage[] = []
  const server = createServer((request, response) => {
    asked.push(request)
    request.resume().on('end', () => answers[asked.length - 1]?.(response))
  })
  t.teardown(() => { server.close().closeAllConnections() })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked }
}

const badGateway = (response: ServerResponse): unknown => response.writeHead(502).end('<html>')
const created = (response: ServerResponse): unknown => response.writeHead(201).end('{"ids":["1-1"]}')

// A service that restarts behind a proxy: 502 from the proxy, or a connection that breaks during the response.
t.test('temporary failures are retried with the same idempotency key, and the token is sent each time', async t => {
  const cut = (response: ServerResponse): unknown =>
    response.writeHead(201, { 'content-length': 100 }).write('{"ids":', () => response.destroy())
  const { url, asked } = await startScript(t, badGateway, response => response.destroy(), cut, created)
  const { code, out, err } = await runCommand(['publish', 'news', 'x', '--url', url, '--token', 'secret\n'])
  t.same({ code, out }, { code: 0, out: '1-1\n' })
  t.equal(
    err,
    'resumable-sse: 502 Bad Gateway; waiting up to 60 s\nresumable-sse: the service is available again, publishing ' +
      'continues\n'
  )
  t.equal(new Set(asked.map(({ headers }) => headers['idempotency-key'])).size, 1)
  t.equal(asked[2]?.headers.authorization, 'Bearer secret')
})

t.test('it gives up after the configured time, and says whether the events may have been published', async t => {
  const { url, asked } = await startScript(t, badGateway, badGateway, badGateway, badGateway, badGateway, badGateway)
  const { code, err } = await runCommand([
    'publish', 'news', 'x', '--url', url, '--wait', '1s'
  ], { RESUMABLE_SSE_TOKEN: 'from-env' })
  t.equal(code, 1)
  t.equal(
    err,
    'resumable-sse: 502 Bad Gateway; waiting up to 1 s\nresumable-sse: 502 Bad Gateway; gave up after 1 s: the events ' +
      'may have been published\n'
  )
  t.ok(asked.length > 2)
  t.equal(asked[0]?.headers.authorization, 'Bearer from-env')
  const nobody = `http://127.0.0.1:${await stablePort()}`
  t.match(await runCommand(['publish', 'news', 'x', '--url', nobody, '--wait=0']), {
    code: 1,
    err: /^resumable-sse: http:.* cannot be reached: connect ECONNREFUSED .*; gave up after 0 s: nothing was published\n$/
  })
})

// A publisher that exceeds a rate limit: 429 says when to try again.
t.test('it waits for the time in Retry-After, in either format', async t => {
  const limited = (seconds: string) =>
    (response: ServerResponse): unknown => response.writeHead(429, { 'retry-after': seconds }).end()
  const { url } = await startScript(t, limited('1'), limited('Fri, 31 Dec 1999 23:59:59 GMT'), created)
  const begin = performance.now()
  t.match(await runCommand(['publish', 'news', 'x', '--url', url]), {
    code: 0, out: '1-1\n', err: /^resumable-sse: 429 Too Many Requests; waiting up to 60 s\n/
  })
  t.ok(performance.now() - begin >= 1_000)
})

t.test('permanent failures are not retried', async t => {
  t.match(await runCommand(['publish', 'news', 'x', '--url', 'http://127.0.0.1:1']), {
    code: 1, err: 'resumable-sse: http://127.0.0.1:1 cannot be reached: bad port\n'
  })
  const { url, asked } = await startScript(t, badGateway, response => response.writeHead(409).end('null'))
  t.match(await runCommand(['publish', 'news', 'x', '--url', url]), {
    code: 1, err: /\nresumable-sse: 409 Conflict\n$/
  })
  t.equal(asked.length, 2)
})

t.test('another server cannot send control characters to the terminal', async t => {
  const answering = (text: string) => (response: ServerResponse): unknown => response.writeHead(201).end(text)
  const forged = await startScript(t, answering(JSON.stringify({ ids: ['1-1\u001b[2J\n2-2'] })))
  t.same(await runCommand(['publish', 'news', 'x', '--url', forged.url]), {
    code: 0, out: '1-1\\u001b[2J\\n2-2\n', err: ''
  })
  for (const text of ['\u001b[2J', 'null', '{}']) {
    const { url } = await startScript(t, answering(text))
    t.same(await runCommand(['publish', 'news', 'x', '--url', url]), {
      code: 1, out: '', err: 'resumable-sse: published, but the answer has no ids: is this resumable-sse?\n'
    })
  }
})

// Regression: a token with a line break was reported as a TypeError with its stack, before any attempt.
t.test('an invalid command line is reported before any request', async t => {
  for (const [argv, message] of [
    [['news', 'x', '--token', 'se\ncret'], /--token must contain only printable ASCII/], [
      ['news', 'x', '--url', 'http://user:secret@127.0.0.1'], /--url must not contain a user name or password/
    ],
    [
      ['news', 'x', '--wait', 'soon'], /--wait must be 0 or a duration such as 30s, 10m, 2h or 1d, saw "soon"/
    ], [[], /publish needs a topic/]
  ] as const) {
    for (const command of argv.includes('--wait' as never) || argv.length === 0 ? ['publish'] : ['publish', 'tail']) {
      const { code, err } = await runCommand([
        command, ...(command === 'tail' ? argv.filter(arg => arg !== 'x') : argv)
      ])
      t.equal(code, 2)
      t.match(err, message)
      t.notMatch(err, /cret/)
    }
  }
})

t.test('a rejected line is reported with its number, and the lines before it are published', async t => {
  const service = await TestService.start(t)
  const call = new CommandCall(['publish', 'news', '--url', service.origin])
  call.stdin.write('one\n')
  await call.out.until('-1\n')
  call.stdin.end('two\nth\0ree\n')
  t.match(await call.result(), {
    code: 1, err: /^resumable-sse: lines 2 to 3: 400 TOPICS_BAD_EVENT: event on line 2: .*NUL/
  })
  const alone = new CommandCall(['publish', 'news', '--url', service.origin])
  alone.stdin.end('\0')
  t.match(await alone.result(), { code: 1, err: /^resumable-sse: line 1: 400 TOPICS_BAD_EVENT/ })
  t.match(await service.counts('news'), [{ count: 1 }])
  const name = 'n'.repeat(1_025)
  for (const [flags, input] of [[['--event', name], 'text'], [['--sse'], `event:${name}\ndata\n\n`]] as const) {
    const named = new CommandCall(['publish', 'news', ...flags, '--url', service.origin])
    named.stdin.end(input)
    t.match(await named.result(), { code: 1, err: /field "event" must be at most 1024 bytes, saw 1025\n$/ })
  }
})

t.test('a line that never ends is an error before it fills the memory, and the work on its chunks is linear', async t => {
  const call = new CommandCall(['publish', 'news', '--url', 'http://127.0.0.1:1'])
  const chunk = 'x'.repeat(65_536)
  for (let sent = 0; sent < 256; sent++) call.stdin.write(chunk)
  call.stdin.write('x')
  t.match(await call.result(), { code: 1, err: 'resumable-sse: line 1 has more than 16777216 characters\n' })
})

t.test('on a terminal it says that it waits for lines', async t => {
  const service = await TestService.start(t)
  const call = new CommandCall(['publish', 'news', '--url', service.origin], {}, { isTerminal: true })
  await call.err.until('each line you type is published; press Ctrl-D to end\n')
  call.stdin.end('typed\n')
  t.match(await call.result(), { code: 0, out: /-1\n$/ })
})

// As with `tail -f log | resumable-sse publish`, across a restart of the service: every line once, in order.
t.test('piped lines are published as they arrive, and each once over a restart', async t => {
  const service = await ServiceProcess.start(t)
  const call = new CommandCall(['publish', 'build', '--url', service.origin])
  const said = (line: number): Promise<unknown> => call.out.until(`-${line}\n`)
  call.stdin.write('line 1\n')
  await said(1)
  call.stdin.write('line 2\n')
  await said(2)
  await service.kill()
  call.stdin.write('line 3\n')
  await call.err.until('waiting up to 60 s\n')
  call.stdin.write('line 4\nline 5\n')
  await service.start()
  await said(5)
  call.stdin.end()
  t.match(await call.result(), {
    code: 0,
    err: /^resumable-sse: http:\/\/127\.0\.0\.1:\d+ cannot be reached: .*; waiting up to 60 s\nresumable-sse: the service is available again, publishing continues\n$/
  })
  await fetch(`${service.origin}/topics/build/close`, { method: 'POST' })
  const { text } = await fetchAll(t, `${service.origin}/events?topic=build&lastEventId=0-0`)
  t.same([...text.matchAll(/^data: (line.*)$/gm)].map(([, line]) => line), [
    'line 1', 'line 2', 'line 3', 'line 4', 'line 5'
  ])
})

t.test('the built command reads stdin of the shell, and stops quietly when its reader exits', async t => {
  const { origin } = await startService(t, { DURABILITY: 'process' })
  const cli = `${process.execPath} service/dist/cli.js`
  const publisher = run(t, 'bash', ['-c', `seq 5 | ${cli} publish news --url ${origin}`])
  t.equal(await publisher.exit(), 0, publisher.err)
  t.equal(publisher.out.trim().split('\n').length, 5)
  const reader = run(t, 'bash', ['-c', `set -o pipefail; ${cli} tail news --url ${origin} --after 0-0 | head -1`])
  await reader.until(({ out }) => out.endsWith('-1 message 1\n'))
  // `head` prints its line and exits some time later; a write to it after that ends the command.
  const over = new AbortController()
  const ended = reader.ended.then(() => over.abort())
  while (!over.signal.aborted) {
    t.equal((await fetch(`${origin}/topics/news/events`, { method: 'POST', body: 'more' })).status, 201)
  }
  await ended
  t.equal(reader.err, 'resumable-sse: listening\n')
})
