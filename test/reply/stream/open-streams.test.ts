import t from 'tap'
import { addAdmission } from '../../../plugin/reply/request/admission.ts'
import { StreamRegistry } from '../../../plugin/reply/stream/open-streams.ts'
import type { SseStream } from '../../../plugin/index.ts'
import { buildApp, listen } from '../../support/apps/app.ts'
import { fetchAll, open } from '../../support/clients/client.ts'
import { fakeStream } from '../../support/apps/fake-stream.ts'
import { until } from '../../support/until.ts'

t.test('app.sse.streams lists the open streams, oldest first, and counts the closed ones by reason', async t => {
  const app = await buildApp(t)
  app.get('/', (request, reply) => { reply.sse().push({ data: 'a' }) })
  const url = await listen(app)
  const { streams } = app.sse
  const clients = [await open(t, url), await open(t, url)]
  for (const { inbox } of clients) await inbox.until('data: a')
  const [first, second] = [...streams] as [SseStream, SseStream]
  t.equal(streams.size, 2)
  t.ok(first.ageMs >= second.ageMs && second.ageMs > 0)
  t.equal(first.owner, undefined)
  t.equal(streams.written.events, 2)
  const { bytes } = streams.written
  t.equal(bytes, first.written.bytes + second.written.bytes)
  clients[0]!.close()
  await until(() => streams.size === 1)
  second.end()
  t.same([...streams], [])
  t.same(streams.closed, new Map([['client', 1], ['end', 1]]))
  t.same({ opened: streams.opened, written: streams.written }, { opened: 2, written: { events: 2, bytes } })
})

t.test('a stream has no age before its first byte, and names each checked topic once', async t => {
  const app = await buildApp(t)
  const ages: number[] = []
  app.get('/', (request, reply) => {
    const stream = reply.sse()
    ages.push(stream.ageMs)
    stream.checkTopics('a')
    stream.checkTopics(['b', 'a', 'b'])
    stream.end({ data: stream.topics.join() })
  })
  const { text } = await fetchAll(t, await listen(app))
  t.match(text, /data: a,b\n/)
  t.same(ages, [0])
})

t.test('a stream that ends with its first bytes counts as opened; one that only asks its client to retry does not', async t => {
  const app = await buildApp(t)
  app.get('/finite', (request, reply) => reply.sse([{ data: 'a' }]))
  app.get('/at-once', (request, reply) => { reply.sse().end({ data: 'a' }) })
  app.get('/retry', (request, reply) => { reply.sse().closeWithRetry('error', 1_000) })
  app.get('/nothing', (request, reply) => reply.sse({ open: () => undefined }))
  const url = await listen(app)
  for (const path of ['/finite', '/at-once', '/retry', '/nothing']) await fetchAll(t, url + path)
  await fetchAll(t, `${url}/finite`, { method: 'HEAD' })
  const { opened, closed, size } = app.sse.streams
  t.same({ opened, closed, size }, { opened: 2, closed: new Map([['end', 2]]), size: 0 })
})

t.test('streams are found by their owner from their creation to their end, when listeners are called', async t => {
  const app = await buildApp(t)
  const owners = [{ subject: 'ann', session: 's1' }, { subject: 'ann', session: 's1' }, { subject: 'ann' }]
  app.addHook('onRequest', async request => {
    addAdmission(request, {})
    addAdmission(request, { owner: owners[Number(request.headers['x-owner'])]! })
  })
  const found: number[] = []
  app.get('/', (request, reply) => {
    const stream = reply.sse()
    const { subject, session = '' } = stream.owner!
    found.push(app.sse.streams.ofSubject(subject).size, app.sse.streams.ofSession(session).size)
  })
  const url = await listen(app)
  const { streams } = app.sse
  const over: string[] = []
  streams.onClose((reason, { owner }) => over.push(`${owner?.subject} ${reason} ${streams.ofSubject('ann').size}`))
  for (const owner of ['0', '1', '2']) {
    const { inbox } = await open(t, url, { headers: { 'x-owner': owner } })
    await inbox.until(':\n')
  }
  t.same(found, [1, 1, 2, 2, 3, 0])
  t.same(streams.ofSubject('ann'), new Set(streams))
  for (const stream of streams.ofSession('s1')) stream.close('revoked')
  t.equal(streams.ofSession('s1').size, 0)
  for (const stream of streams) stream.close('lifetime')
  t.same(over, ['ann revoked 2', 'ann revoked 1', 'ann lifetime 0'])
  t.equal(streams.ofSubject('nobody').size, 0)
})

t.test('nothing is kept of a stream that has ended', async t => {
  const registry = new StreamRegistry()
  const streams = Array.from({ length: 3 }, () => fakeStream(registry, { owner: { subject: 'ann', session: 's1' } }))
  t.same([...registry.ofSubject('ann')], streams)
  for (const stream of streams) stream.close('end')
  t.same([registry.unfinished, registry.ofSubject('ann').size, registry.ofSession('s1').size], [[], 0, 0])
})
