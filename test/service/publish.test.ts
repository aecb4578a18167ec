import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import type { IncomingMessage, ServerResponse } from 'node:http'
import t from 'tap'
import type { Test } from 'tap'
import { run, startService } from '../support/commands.ts'
import { fetchAll } from '../support/client.ts'
import { TestService } from '../support/service-app.ts'
import { CommandCall, runCommand } from '../support/terminal.ts'

// `resumable-sse publish` against the real service.

/** All events of a topic, as [name, data]; the topic is closed for it. */
async function eventsOf (t: Test, service: TestService, topic: string): Promise<string[][]> {
  await service.call(`/topics/${topic}/close`, { method: 'POST' })
  const { text } = await fetchAll(t, `${service.origin}/events?topic=${topic}&lastEventId=0-0`)
  return text.split('\n\n').filter(block => /^id: .*\n(event: (?!stream)|data)/.test(block)).map(block => [
    /^event: (.*)$/m.exec(block)?.[1] ?? '',
    [...block.matchAll(/^data: ?(.*)$/gm)].map(([, line]) => line).join('\n')
  ])
}

t.test('data by argument is one event, whatever is in it, and its id is printed', async t => {
  const service = await TestService.start(t)
  const { code, out, err } = await runCommand(['publish', 'news', 'two words\nand a line', '--url', `${service.origin}/`])
  t.same({ code, err }, { code: 0, err: '' })
  t.match(out, /^\d{13}-1\n$/)
  t.match(await runCommand(['publish', 'news', '{"home":1}', '--event=score'], { RESUMABLE_SSE_URL: service.origin }), { code: 0, out: /^\d{13}-2\n$/ })
  t.same(await eventsOf(t, service, 'news'), [['', 'two words\nand a line'], ['score', '{"home":1}']])
})

t.test('each line of stdin is an event, the last one without an end too; CR LF ends a line as LF does', async t => {
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

t.test('a line is published when it is there, not when stdin ends', async t => {
  const service = await TestService.start(t)
  const call = new CommandCall(['publish', 'news', '--url', service.origin])
  call.stdin.write('first\nhalf')
  await call.out.until('-1\n')
  call.stdin.end(' of it\n')
  t.equal(await call.code, 0)
  t.same(await eventsOf(t, service, 'news'), [['', 'first'], ['', 'half of it']])
})

t.test('no lines are no events', async t => {
  const service = await TestService.start(t)
  t.same(await runCommand(['publish', 'news', '--url', service.origin]), { code: 0, out: '', err: '' })
})

t.test('many lines go out in batches, in their order', async t => {
  const service = await TestService.start(t)
  const call = new CommandCall(['publish', 'news', '--url', service.origin])
  const lines = Array.from({ length: 2_500 }, (_, at) => `${at}`)
  call.stdin.end(lines.join('\n'))
  const { out } = await call.result()
  t.same(out.trim().split('\n').map(id => Number(id.split('-')[1])), lines.map((_, at) => at + 1))
  t.same((await eventsOf(t, service, 'news')).map(([, data]) => data), lines)
})

t.test('with --ndjson each line is an event with its own name and data; empty lines are none', async t => {
  const service = await TestService.start(t)
  const call = new CommandCall(['publish', 'news', '--ndjson', '--event', 'default', '--url', service.origin])
  call.stdin.end('{"data":{"a":1}}\n\n{"event":"own","data":"x"}\n')
  t.equal(await call.code, 0)
  t.same(await eventsOf(t, service, 'news'), [['default', '{"a":1}'], ['own', 'x']])
})

t.test('a line that is not JSON is told with its number, and nothing that came with it is published', async t => {
  const service = await TestService.start(t)
  const call = new CommandCall(['publish', 'news', '--ndjson', '--url', service.origin])
  call.stdin.write('{"data":"one"}\n')
  await call.out.until('-1\n')
  call.stdin.end('{"data":"two"}\n{data}\n')
  t.match(await call.result(), { code: 1, err: /^resumable-sse: line 3 is not JSON: / })
  t.match(await service.counts('news'), [{ count: 1 }])
})

t.test('what the service refuses is told as it tells it, once, and exits with 1', async t => {
  const service = await TestService.start(t)
  t.same(await runCommand(['publish', 'no topic', 'x', '--url', service.origin]), {
    code: 1,
    out: '',
    err: 'resumable-sse: 400 TOPICS_BAD_TOPIC: topic must be 1 to 200 characters of A-Z a-z 0-9 . _ ~ : @ / - beginning with a letter or digit, saw "no topic"\n'
  })
})

/** A server that answers as told, one by one, and keeps what it was asked. */
async function startScript (t: Test, ...answers: ((response: ServerResponse) => unknown)[]): Promise<{ url: string, asked: IncomingMessage[] }> {
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

// A service that restarts behind a proxy: 502 from the proxy, or a connection that breaks under the answer.
t.test('what may pass is tried again with the same idempotency key, and the token goes with it', async t => {
  const { url, asked } = await startScript(t, badGateway, response => response.destroy(), created)
  const { code, out, err } = await runCommand(['publish', 'news', 'x', '--url', url, '--token', 'secret'])
  t.same({ code, out }, { code: 0, out: '1-1\n' })
  t.equal(err, `resumable-sse: 502 Bad Gateway; trying again in 200 ms\nresumable-sse: ${url} cannot be reached: other side closed; trying again in 400 ms\n`)
  t.equal(new Set(asked.map(({ headers }) => headers['idempotency-key'])).size, 1)
  t.equal(asked[2]?.headers.authorization, 'Bearer secret')
})

t.test('it gives up after five tries', async t => {
  const { url, asked } = await startScript(t, badGateway, badGateway, badGateway, badGateway, badGateway)
  const { code, err } = await runCommand(['publish', 'news', 'x', '--url', url], { RESUMABLE_SSE_TOKEN: 'from-env' })
  t.equal(code, 1)
  t.match(err, /trying again in 1600 ms\nresumable-sse: 502 Bad Gateway\n$/)
  t.equal(asked.length, 5)
  t.equal(asked[0]?.headers.authorization, 'Bearer from-env')
})

t.test('the built command reads stdin of the shell, and stops quietly when nobody reads on', async t => {
  const { origin } = await startService(t, { DURABILITY: 'process' })
  const cli = `${process.execPath} service/dist/cli.js`
  const publisher = run(t, 'bash', ['-c', `seq 5 | ${cli} publish news --url ${origin}`])
  t.equal(await publisher.exit(), 0, publisher.err)
  t.equal(publisher.out.trim().split('\n').length, 5)
  const reader = run(t, 'bash', ['-c', `set -o pipefail; ${cli} tail news --url ${origin} --after 0-0 | head -1`])
  await reader.until(({ out }) => out.endsWith('-1 message 1\n'))
  // `head` says its line and goes, sooner or later; what is written to it after that ends the command.
  const over = new AbortController()
  const ended = reader.ended.then(() => over.abort())
  while (!over.signal.aborted) t.equal((await fetch(`${origin}/topics/news/events`, { method: 'POST', body: 'more' })).status, 201)
  await ended
  t.equal(reader.err, 'resumable-sse: listening\n')
})
