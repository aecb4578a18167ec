import { once } from 'node:events'
import t from 'tap'
import type { Test } from 'tap'
import { LiveLimits } from '../../../service/producers/live-limits.ts'
import { certificateFiles, openHttp2, openSession } from '../../support/network/http2-client.ts'
import { LiveSender } from '../../support/service/live-sender.ts'
import { until } from '../../support/until.ts'
import { TestService } from '../../support/service/service-app.ts'
import { bearer, nowS, SECRET, sign } from '../../support/auth/tokens.ts'
import type { Claims } from '../../support/auth/tokens.ts'

const stateOf = async (service: TestService, topic: string) => (await service.app.topics.producer(topic)).state
const untilLive = (service: TestService, topic: string) => until(async () => await stateOf(service, topic) === 'live')

// They were counted until the end of the event: one sender took MAX_BODIES_BYTES, and all other publishers got 503.
t.test('comments between the lines of an event take no memory from the limit for bodies', async t => {
  const service = await TestService.start(t, { MAX_BODIES_BYTES: '300000' })
  const sender = new LiveSender(t, service.origin, 'a', { type: 'text/event-stream' })
  sender.write('data: one\n')
  for (let i = 0; i < 10; i++) {
    await new Promise(resolve => { sender.request.write(`:${'x'.repeat(99_000)}\n`, resolve) })
  }
  sender.write('data: two\n\n')
  await until(async () => (await service.app.topics.producer('a')).accepted === 1)
  sender.write('data: three\n')
  for (let i = 0; i < 10; i++) {
    await new Promise(resolve => { sender.request.write(`:${'x'.repeat(99_000)}\n`, resolve) })
  }
  const publish = () => service.publish('other', `{"data":"${'x'.repeat(200_000)}"}`, { type: 'application/x-ndjson' })
  await until(async () => (await publish()).status === 201)
  sender.end('\n')
  t.match(await sender.ended, { status: 200, json: { accepted: 2 } })
})

/** A live publish of one event, and of many bytes of another. */
async function sendUnfinished (
  t: Test, service: TestService, { topic, sub, bytes }: { topic: string, sub: string, bytes: number }
): Promise<LiveSender> {
  const headers = bearer(await sign({ sub }))
  const sender = new LiveSender(t, service.origin, topic, { type: 'application/x-ndjson', headers })
  sender.write('{"data":"1"}\n')
  await untilLive(service, topic)
  sender.write(`{"data":"${'x'.repeat(bytes)}`)
  return sender
}

// Unfinished lines are kept for as long as their clients like: a hundred of them took MAX_BODIES_BYTES, and all other
// publishers got 503.
t.test('live bodies with unfinished lines take at most half of the limit for bodies', async t => {
  const service = await TestService.start(t, { MAX_BODIES_BYTES: '300000', JWT_SECRET: SECRET })
  const senders: LiveSender[] = []
  for (const topic of ['a', 'b', 'c']) senders.push(await sendUnfinished(t, service, { topic, sub: topic, bytes: 110_000 }))
  t.match(await Promise.race(senders.map(sender => sender.ended)), { status: 503, json: { code: 'SERVICE_BUSY' } })
  const { status } = await service.publish('other', `{"data":"${'x'.repeat(100_000)}"}`, {
    type: 'application/x-ndjson', headers: bearer(await sign())
  })
  t.equal(status, 201)
})

// One publisher could take all of that half, and the live publishes of all others got 503.
t.test('the live bodies of one publisher take at most half of the bytes for live bodies', async t => {
  const service = await TestService.start(t, { MAX_BODIES_BYTES: '400000', JWT_SECRET: SECRET })
  const open = (topic: string, sub: string) => sendUnfinished(t, service, { topic, sub, bytes: 70_000 })
  const senders = [await open('a', 'ann'), await open('b', 'ann')]
  t.match(await Promise.race(senders.map(sender => sender.ended)), { status: 503, json: { code: 'SERVICE_BUSY' } })
  const other = await open('c', 'bob')
  other.end('"}\n')
  t.match(await other.ended, { status: 200, json: { accepted: 2 } })
})

// Nothing counted them: those of one connection of HTTP/2 followed all topics of the process, and no stream was
// accepted any more.
t.test('live publishes take at most half of the topics, and one publisher at most half of that', async t => {
  const { cert, key } = certificateFiles(t)
  const service = await TestService.start(t, { TLS_CERT: cert, TLS_KEY: key, MAX_TOPICS: '12', JWT_SECRET: SECRET })
  const session = await openSession(t, service.origin, { rejectUnauthorized: false })
  const produce = async (topic: string, sub: string) => {
    const stream = session.request({
      ':method': 'POST',
      ':path': `/topics/${topic}/producer`,
      'content-type': 'text/plain',
      ...bearer(await sign({ sub }))
    })
    stream.on('error', () => {})
    stream.write('1\n')
    return stream
  }
  const answerOf = async (stream: Awaited<ReturnType<typeof produce>>) => {
    const [headers] = await once(stream, 'response') as [Record<string, unknown>]
    let text = ''
    for await (const chunk of stream.setEncoding('utf8')) text += chunk as string
    return { status: headers[':status'], json: JSON.parse(text) as Record<string, unknown> }
  }
  const streams = []
  for (const [topic, sub] of [['a', 'ann'], ['b', 'ann'], ['c', 'ann'], ['d', 'bob'], ['e', 'bob']] as const) {
    streams.push(await produce(topic, sub))
    await untilLive(service, topic)
  }
  t.match(await answerOf(await produce('x', 'ann')), {
    status: 429,
    json: {
      code: 'SERVICE_TOO_MANY_PRODUCERS_OF_PUBLISHER',
      message: /^too many live publishes: one publisher may have at most 3 /
    }
  })
  streams.push(await produce('f', 'bob'))
  await untilLive(service, 'f')
  t.match(await answerOf(await produce('x', 'eve')), { status: 503, json: { code: 'SERVICE_TOO_MANY_PRODUCERS' } })
  t.equal(await stateOf(service, 'x'), 'none')
  const { inbox } = await openHttp2(session, '/events?topic=g&topic=h&topic=i', { headers: bearer(await sign()) })
  await inbox.until('stream.open')
  streams.shift()!.end()
  await until(async () => await stateOf(service, 'a') === 'done')
  streams.push(await produce('y', 'ann'))
  await untilLive(service, 'y')
})

t.test('without a limit on streams the limit on topics applies to live publishes; each publisher may have one', t => {
  const limits = new LiveLimits({ maxStreams: 0, maxTopics: 4 })
  const leave = limits.take('ann')
  t.throws(() => limits.take('ann'), { code: 'SERVICE_TOO_MANY_PRODUCERS_OF_PUBLISHER', statusCode: 429 })
  limits.take('bob')
  t.throws(() => limits.take('eve'), { code: 'SERVICE_TOO_MANY_PRODUCERS', statusCode: 503 })
  leave()
  limits.take('eve')
  t.doesNotThrow(() => new LiveLimits({ maxStreams: 1, maxTopics: 1 }).take('ann'))
  t.end()
})

t.test('a revocation ends the live body of its subject, and no other; new credentials can continue it', async t => {
  const service = await TestService.start(t, { JWT_SECRET: SECRET })
  const old = { iat: nowS() - 10 }
  const send = async (topic: string, claims: Claims, after = '0') => {
    const headers = { ...bearer(await sign(claims)), 'producer-id': 'p', 'producer-after': after }
    const sender = new LiveSender(t, service.origin, topic, { headers })
    sender.write('1\n')
    await until(async () => (await service.app.topics.producer(topic)).accepted === Number(after) + 1)
    return sender
  }
  const alice = await send('a', old)
  const bob = await send('b', { ...old, sub: 'bob' })
  await service.app.auth.revoke({ subject: 'alice' })
  t.match(await alice.ended, {
    status: 401, json: { code: 'SERVICE_PRODUCER_REVOKED', message: /the log has 1 event of/ }
  })
  t.equal(await stateOf(service, 'a'), 'live')
  bob.end('2\n')
  t.match(await bob.ended, { status: 200, json: { accepted: 2 } })
  // As its clock may be ahead, a token counts as issued 5 s before it says.
  await until(async () => {
    const headers = { ...bearer(await sign({ iat: nowS() + 5 })), 'producer-id': 'p', 'producer-after': '1' }
    const sender = new LiveSender(t, service.origin, 'a', { headers })
    sender.end('2\n')
    return (await sender.ended).status === 200
  })
})

// A number that no lease can have was an error of the server, with a stack in the log.
t.test('a stop with a number that cannot be a lease is a bad request', async t => {
  const service = await TestService.start(t)
  for (const lease of [1e308, 2 ** 53]) {
    t.match(await service.call('/topics/a/stop', { method: 'POST', body: { lease } }), {
      status: 400, json: { code: 'SERVICE_BAD_VALUE' }
    })
  }
})

// setTimeout() fires at once for more than 24.8 days.
t.test('a token that expires in months does not end a live body', async t => {
  const service = await TestService.start(t, { JWT_SECRET: SECRET })
  const sender = new LiveSender(t, service.origin, 'a', { headers: bearer(await sign({ exp: nowS() + 60 * 86_400 })) })
  sender.write('1\n')
  await until(async () => (await service.app.topics.producer('a')).accepted === 1)
  sender.end('2\n')
  t.match(await sender.ended, { status: 200, json: { accepted: 2 } })
})

t.test('a body of a proxy subject ends with MAX_LIFETIME, as its streams do, and can be continued', async t => {
  const service = await TestService.start(t, { PROXY_HEADER: 'x-user', PROXY_FROM: '127.0.0.1', MAX_LIFETIME: '1s' })
  const headers = { 'x-user': 'alice', 'producer-id': 'p' }
  const long = new LiveSender(t, service.origin, 'a', { headers })
  long.write('1\n')
  t.match(await long.ended, {
    status: 401, headers: { 'producer-accepted': '1' }, json: { code: 'SERVICE_PRODUCER_EXPIRED' }
  })
  const next = new LiveSender(t, service.origin, 'a', { headers: { ...headers, 'producer-after': '1' } })
  next.end('2\n')
  t.match(await next.ended, { status: 200, json: { accepted: 2 } })
})
