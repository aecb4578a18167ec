import t from 'tap'
import { setImmediate as turn } from 'node:timers/promises'
import type { SseStream } from '../../plugin/index.ts'
import topics, { MemoryLog } from '../../plugin/topics/index.ts'
import { buildApp, listen } from '../support/apps/app.ts'
import { fetchAll, open } from '../support/clients/client.ts'
import { until } from '../support/until.ts'

// Regression: @microsoft/fetch-event-source and eight other clients, of 25 that were tried, dispatch a message at each
// blank line, even without data. Preamble, heartbeats, comments and bare `retry:` lines used to end with a blank line:
// a page with the usual `onmessage: event => JSON.parse(event.data)` failed at the very first bytes, reconnected, and
// never received an event.

/** The messages of such a client: the fields of the lines up to each blank line. */
function dispatched (text: string): Record<string, string>[] {
  const blocks = text.split('\n\n').slice(0, -1)
  return blocks.map(block => Object.fromEntries(block.split('\n').filter(line => !line.startsWith(':')).map(line => {
    const [field, value] = line.split(/: ?(.*)/s)
    return [field!, value ?? '']
  })))
}

const withoutData = (text: string): unknown[] => dispatched(text).filter(message => message.data === undefined)

t.test('nothing that a stream sends by itself is a message or ends one', async t => {
  const app = await buildApp(t, { heartbeatMs: 20 })
  await app.register(topics, { log: new MemoryLog() })
  let stream!: SseStream
  app.get('/manual', (request, reply) => reply.sse(given => { stream = given }))
  app.get('/topic', (request, reply) => reply.sse(app.topics.subscribe('news')))
  app.get(
    '/away',
    (request, reply) => reply.sse(async () => { throw Object.assign(new Error('away'), { statusCode: 503 }) })
  )
  app.get('/upstream', async (request, reply) => reply.sse(new Response('data: 1\n\ndata: 2\n\n', {
    headers: { 'content-type': 'text/event-stream' }
  })))
  app.get('/failing', (request, reply) => reply.sse(async function * () {
    yield 'first'
    await turn()
    await turn()
    throw new Error('a bug')
  }))
  const url = await listen(app)

  const manual = await open(t, `${url}/manual`)
  const topic = await open(t, `${url}/topic`)
  await topic.inbox.until('stream.open')
  for (const data of [1, 2]) {
    stream.push({ id: data, event: 'n', data })
    stream.comment('two\nlines')
    stream.push({ retry: 100 })
    await app.topics.publish('news', { data, retry: 50 })
    const { length } = topic.inbox.text
    await until(() => topic.inbox.text.length > length + 2 * ':\n'.length)
  }
  const texts = [
    (await fetchAll(t, `${url}/away`)).text, (await fetchAll(t, `${url}/upstream`)).text,
    (await fetchAll(t, `${url}/failing`)).text
  ]
  await app.close()
  texts.push(await manual.inbox.ended(), await topic.inbox.ended())

  for (const text of texts) t.same(withoutData(text), [], text)
  t.match(texts[0], /^:\nretry: 3000\nretry: \d+\n$/, 'a client that is asked to retry gets no message at all')
  t.same(dispatched(texts[3]!).map(({ id, event, data }) => [id, event, data]), [['1', 'n', '1'], ['2', 'n', '2']])
  t.same(dispatched(texts[4]!).map(({ data }) => data), ['', '1', '2'])
})
