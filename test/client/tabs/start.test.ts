import t from 'tap'
import type { ConnectionRequest, ConnectionSink, Outcome, Transport } from '../../../plugin/client/connection/transport.ts'
import { startOf } from '../../../plugin/client/tabs/start.ts'

type Script = (sink: ConnectionSink, count: number) => Outcome | undefined

/** The start of a tab with this cursor, on a server that follows the script; it is silent without an outcome. */
async function ask (script: Script, cursor = '5-5', topics = ['a', 'b'], signal = new AbortController().signal) {
  const messages: string[] = []
  let count = 0
  const transport: Transport = (_request, sink, signal) => {
    const outcome = script(sink, ++count)
    if (outcome !== undefined) return Promise.resolve(outcome)
    return new Promise(resolve => {
      signal.addEventListener('abort', () => resolve({ kind: 'ended' }), { once: true })
    })
  }
  const url = new URL('http://x.test/events')
  for (const topic of topics) url.searchParams.append('topic', topic)
  const request: ConnectionRequest = {
    url, cursor, token: undefined, tokenParameter: undefined, headers: {}, withCredentials: false
  }
  const sink = { message: ({ data }: { data: string }) => { messages.push(data) } } as unknown as ConnectionSink
  const options = { url: url.href, backoff: { initialMs: 0, maxMs: 0 } }
  return { start: await startOf({ request, options, transport, sink, signal }), messages, count }
}

t.test('a tab that is already at a position, or starts now, asks nobody', async t => {
  const silent: Script = () => undefined
  for (const [cursor, topics] of [['', ['a', 'b']], ['5-5', ['a']]] as const) {
    t.same(await ask(silent, cursor, [...topics]), {
      start: { kind: 'start', cursor, gaps: [], isConfirmed: false }, messages: [], count: 0
    })
  }
})

t.test('otherwise the first cursor of the server is the start, with the gaps before it', async t => {
  const gap = { topic: 'a', reason: 'unknown', after: '5-5', resumedAt: null }
  const { start } = await ask(sink => {
    sink.open()
    sink.message({ id: undefined, event: 'stream.open', data: '' })
    sink.message({ id: undefined, event: 'news', data: 'without a cursor' })
    sink.message({ id: undefined, event: 'stream.expiring', data: '{"expiresIn":60}' })
    sink.message({ id: 'abcdef1-1', event: 'stream.gap', data: JSON.stringify(gap) })
    return undefined
  })
  t.same(start, { kind: 'start', cursor: 'abcdef1-1', gaps: [gap], isConfirmed: true })
})

t.test('temporary failures are reported while it asks again, a permanent one and the end of the topics are its result', async t => {
  const { start, messages, count } = await ask((_sink, count) =>
    count === 1 ? { kind: 'rejected', status: 503, message: 'later' } : { kind: 'rejected', status: 403, message: 'never' }
  )
  t.same(start, { kind: 'rejected', status: 403, message: 'never' })
  t.equal(count, 2)
  t.same(messages.map(text => JSON.parse(text)), [{ status: 503, message: 'later', willRetry: true }])
  const finished = await ask(() => ({ kind: 'rejected', status: 204, message: '' }))
  t.same(finished.start, { kind: 'rejected', status: 204, message: '' })
})

t.test('a tab that is closed while it asks has ended', async t => {
  const closing = new AbortController()
  const { start } = await ask(() => { closing.abort(); return undefined }, '5-5', ['a', 'b'], closing.signal)
  t.same(start, { kind: 'ended' })
})

// Regression: it connected until the server answered, with nobody to close it.
t.test('a tab that is closed before it asks opens no connection', async t => {
  t.same((await ask(() => undefined, '5-5', ['a', 'b'], AbortSignal.abort())).start, { kind: 'ended' })
})
