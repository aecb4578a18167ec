import t from 'tap'
import { injectSse } from '../../plugin/testing/index.ts'
import { readCursor } from '../../plugin/topics/ids/cursor.ts'
import { open, connect, get } from '../support/clients/client.ts'
import { listen } from '../support/apps/app.ts'
import { buildTopicsApp, publish } from '../support/apps/topics-app.ts'

// Regression: a client of @microsoft/fetch-event-source with `headers: { 'Last-Event-ID': first }` sends "first,
// newest" from its first reconnect on. That was an unknown cursor: a false gap, and the whole history again at every
// reconnect.

t.test('H23 of several cursors the last readable one counts, wherever they are', async t => {
  const app = await buildTopicsApp(t)
  app.get<{ Querystring: { from?: string | string[] } }>(
    '/from',
    (request, reply) => reply.sse(app.topics.subscribe('a', { after: request.query.from }))
  )
  const url = await listen(app)
  const ids = await publish(app, 'a', '1', '2', '3', '4')
  const both = await injectSse(app, '/events?topic=a&topic=b')
  const [{ id: vector }] = await both.next() as unknown as [{ id: string }]
  both.close()

  const joined: [string, string[]][] = [
    [`${ids[0]}, ${ids[2]}`, ['4']],
    [`${ids[2]}, ${ids[0]}`, ['2', '3', '4']],
    [`${ids[1]}, nonsense`, ['3', '4']],
    [`nonsense, ${ids[1]}`, ['3', '4']],
    [`${ids[0]}, ${ids[1]}, ${ids[2]}`, ['4']],
    [`${ids[0]}, ${vector}`, []]
  ]
  for (const [header, missed] of joined) {
    const path = header.endsWith(vector) ? '/events?topic=a&topic=b' : '/events?topic=a'
    const stream = await injectSse(app, { url: path, headers: { 'last-event-id': header } })
    const [first, ...rest] = await stream.next(1 + missed.length)
    t.equal(first?.event, 'stream.open', header)
    t.same(rest.map(({ data }) => data), missed, header)
    t.notMatch(stream.text, 'stream.gap', header)
    stream.close()
  }

  const twice = await connect(t, url)
  twice.send(get('/events?topic=a', { headers: `Last-Event-ID: ${ids[0]}\r\nLast-Event-ID: ${ids[2]}\r\n` }))
  const text = await twice.inbox.until('data: 4\n\n')
  t.notMatch(text, /stream\.gap|data: [123]/, 'two headers')

  const query = await open(t, `${url}/from?from=${ids[0]}&from=${ids[2]}&from=`)
  t.notMatch(await query.inbox.until('data: 4\n\n'), /stream\.gap|data: [123]/, 'two query parameters')
})

t.test('text without any cursor is malformed, and reading it takes time linear in its length', async t => {
  for (const text of ['', ', ', ', , ', 'a, b', `${', '.repeat(8_000)}x`]) {
    t.same(readCursor(text), { kind: 'malformed' }, text.slice(0, 20))
  }
  t.same(readCursor(`1-1${', '.repeat(8_000)}x`), { kind: 'plain', id: { ms: 1, n: 1 } })
})
