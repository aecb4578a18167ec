import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import type { Test } from 'tap'
import { originIn, run, runUncounted, startService } from '../support/commands.ts'
import type { Command } from '../support/commands.ts'
import { ROOT } from '../support/markdown.ts'

// The examples as their readers run them: built, as programs of their own, with curl at the other end.

const names = readdirSync(ROOT + 'examples').filter(file => file.endsWith('.ts')).map(file => file.replace('.ts', ''))
const JSON_BODY = ['-H', 'content-type: application/json', '-d'] as const

async function start (t: Test, name: string, env: Record<string, string> = {}): Promise<{ example: Command, origin: string }> {
  const example = runUncounted(t, [`dist/examples/${name}.js`], { PORT: '0', ...env })
  await example.until(({ out }) => out.includes('Server listening'))
  return { example, origin: originIn(example.out) }
}

function curl (t: Test, ...args: string[]): Command {
  return run(t, 'curl', ['-sN', ...args])
}

async function answer (t: Test, ...args: string[]): Promise<string> {
  const command = curl(t, ...args)
  await command.ended
  return command.out
}

/** Data of the events of a name, in their order. */
function dataOf (text: string, event: string): string[] {
  return [...text.matchAll(new RegExp(`^event: ${event}\ndata: (.*)$`, 'gm'))].map(match => match[1] ?? '')
}

for (const name of names) {
  t.test(`the example ${name} listens only when it is run itself`, async t => {
    const { build } = await import(`../../dist/examples/${name}.js`) as { build: () => Promise<FastifyInstance> }
    const app = await build()
    t.teardown(() => app.close())
    t.equal(app.server.listening, false)
  })
}

t.test('token-stream: the answer comes token by token, and ends with their number', async t => {
  const { origin } = await start(t, 'token-stream')
  const text = await answer(t, `${origin}/answers`, ...JSON_BODY, '{"prompt":"good morning"}')
  t.same(dataOf(text, 'token'), ['You ', 'said: ', 'good ', 'morning'])
  t.same(dataOf(text, 'done'), ['{"tokens":4}'])
})

t.test('token-stream: the model stops when the reader leaves', async t => {
  const { example, origin } = await start(t, 'token-stream')
  const reader = curl(t, `${origin}/answers`, ...JSON_BODY, JSON.stringify({ prompt: 'on and on '.repeat(1_000) }))
  await reader.until(({ out }) => dataOf(out, 'token').length > 2)
  await reader.stop()
  await example.until(({ out }) => /"closeReason":"client","msg":"answer over"/.test(out))
})

t.test('pass-on: the upstream is passed on, from where the client stopped', async t => {
  const { origin: upstream } = await startService(t)
  const { origin } = await start(t, 'pass-on', { UPSTREAM: `${upstream}/events?topic=news` })
  const { ids } = JSON.parse(await answer(t, `${upstream}/topics/news/events`, ...JSON_BODY, '[{"data":"one"},{"data":"two"}]')) as { ids: string[] }
  const reader = curl(t, `${origin}/news`, '-H', `Last-Event-ID: ${ids[0]}`)
  await reader.until(({ out }) => out.includes('data: two\n\n'))
  t.notMatch(reader.out, 'data: one')
  await answer(t, '-X', 'POST', `${upstream}/topics/news/close`)
  await reader.ended
  t.match(await answer(t, '-i', `${origin}/news`, '-H', `Last-Event-ID: ${ids[1]}`), /^HTTP\/1\.1 204 /)
})

t.test('manual: the primes come in order, and go on after the one seen last', async t => {
  const { origin } = await start(t, 'manual')
  const primes = [2, 3, 5, 7, 11, 13, 17, 19].map(String)
  t.same(dataOf(await answer(t, `${origin}/primes?below=20`), 'prime'), primes)
  const rest = await answer(t, `${origin}/primes?below=20`, '-H', 'Last-Event-ID: 11')
  t.same(dataOf(rest, 'prime'), primes.slice(5))
  t.same(dataOf(rest, 'done'), ['{"count":3}'])
})

t.test('private-orders: a customer hears of his own orders alone, and comes back with a spent token and its cookie', async t => {
  const { origin } = await start(t, 'private-orders')
  const jar = join(t.testdir(), 'jar')
  await answer(t, '-c', jar, `${origin}/login`, ...JSON_BODY, '{"name":"ann"}')
  const { token } = JSON.parse(await answer(t, '-b', jar, '-X', 'POST', `${origin}/events/auth`)) as { token: string }
  const url = `${origin}/orders?ot=${token}`
  const first = curl(t, '-i', url)
  await first.until(({ out }) => out.includes('stream.open'))
  for (const name of ['bob', 'ann']) await answer(t, `${origin}/orders`, ...JSON_BODY, `{"for":"${name}","order":7}`)
  await first.until(({ out }) => out.includes('"ann"'))
  t.same(dataOf(first.out, 'order'), ['{"for":"ann","order":7}'])
  await first.stop()
  const cookie = /^set-cookie: (sse-[^;]+)/im.exec(first.out)?.[1] ?? ''
  const id = /id: (.*)\nevent: order/.exec(first.out)?.[1] ?? ''
  await answer(t, `${origin}/orders`, ...JSON_BODY, '{"for":"ann","order":8}')
  const again = curl(t, url, '-H', `cookie: ${cookie}`, '-H', `last-event-id: ${id}`)
  await again.until(({ out }) => out.includes('"order":8'))
  t.same(dataOf(again.out, 'order'), ['{"for":"ann","order":8}'])
  t.match(await answer(t, '-A', 'another', '-i', url), /^HTTP\/1\.1 401 /)
})
