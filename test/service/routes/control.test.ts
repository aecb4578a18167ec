import t from 'tap'
import { fetchAll, open } from '../../support/clients/client.ts'
import { TestService } from '../../support/service/service-app.ts'
import { bearer, SECRET, sign } from '../../support/auth/tokens.ts'

const data = (text: string): string[] =>
  text.split('\n').filter(line => line.startsWith('data:') || line.startsWith('event:'))

t.test('control=none sends the events of a topic and nothing else, and ends with it', async t => {
  const service = await TestService.start(t)
  const stream = (query: string, headers = {}) =>
    fetchAll(t, `${service.origin}/events?topic=news&control=none${query}`, { headers })
  t.equal((await stream('')).statusCode, 204, 'nobody has published')
  await service.publish('news', [{ data: '1' }, { event: 'x', data: '2' }, { data: '3' }])
  const early = await open(t, `${service.origin}/events?topic=news&control=none&starting_after=0&final=[DONE]`)
  await early.inbox.until('data: 3')
  await service.call('/topics/news/close', { method: 'POST' })
  const text = await early.inbox.ended()
  t.same(data(text), ['data: 1', 'event: x', 'data: 2', 'data: 3'], 'closed is not the same as done')
  t.ok(early.response.complete)
  const [first, , last] = [...text.matchAll(/^id: (.*)$/gm)].map(([, id]) => id!)
  t.same(data((await stream('', { 'last-event-id': first })).text), ['event: x', 'data: 2', 'data: 3'])
  t.same(data((await stream(`&lastEventId=${first}`)).text), ['event: x', 'data: 2', 'data: 3'])
  t.same(data((await stream('&starting_after=2')).text), ['data: 3'])
  for (const answer of [
    await stream('', { 'last-event-id': last }), await stream('&starting_after=3'), await stream('')
  ]) t.equal(answer.statusCode, 204)
  t.match(JSON.parse((await stream('&starting_after=4')).text), { statusCode: 410, code: 'TOPICS_GAP', error: 'Gone' })
})

t.test('the data of a final event is sent after a producer that is done', async t => {
  const service = await TestService.start(t)
  await (await service.app.topics.produce('chat', ['a'])).done
  const { text } = await fetchAll(
    t,
    `${service.origin}/events?topic=chat&control=none&starting_after=0&final=${encodeURIComponent('{"a":1}\nb')}`
  )
  t.same(data(text), ['data: a', 'data: {"a":1}', 'data: b'])
})

t.test('starting_after counts correctly with control events too', async t => {
  const service = await TestService.start(t)
  await service.publish('news', [{ data: '1' }, { data: '2' }])
  await service.call('/topics/news/close', { method: 'POST' })
  const { text } = await fetchAll(t, `${service.origin}/events?topic=news&starting_after=1`)
  t.same(data(text), [
    'event: stream.open', 'data: ', 'data: 2', 'event: stream.end', 'data: {"topic":"news","reason":"closed"}'
  ])
})

t.test('a client that does not accept a stream as an error response gets the status of the limits', async t => {
  const service = await TestService.start(t, { MAX_STREAMS: '1' })
  await service.publish('news', [{ data: '1' }])
  await open(t, `${service.origin}/events?topic=news`)
  const headers = { accept: 'text/event-stream' }
  const answer = await fetchAll(t, `${service.origin}/events?topic=news&control=none&starting_after=0`, { headers })
  t.match([answer.statusCode, JSON.parse(answer.text)], [503, { code: 'SERVICE_TOO_MANY_STREAMS' }])
  t.equal(
    (await fetchAll(t, `${service.origin}/events?topic=news`, { headers })).statusCode,
    200,
    'an EventSource retries'
  )
})

t.test('the response is broken off when the token expires, and a grant is required as always', async t => {
  const service = await TestService.start(t, { AUTH: 'jwt', JWT_SECRET: SECRET })
  t.equal((await fetchAll(t, `${service.origin}/events?topic=news&control=none`)).statusCode, 401)
  await service.app.topics.publish('news', { data: '1' })
  const headers = bearer(await sign({ exp: Math.floor(Date.now() / 1000) + 3, sse: { subscribe: ['*'] } }))
  const { statusCode, inbox, response } = await open(
    t,
    `${service.origin}/events?topic=news&control=none&starting_after=0`,
    { headers }
  )
  t.equal(statusCode, 200)
  t.same(data(await inbox.ended()), ['data: 1'])
  t.notOk(response.complete)
})
