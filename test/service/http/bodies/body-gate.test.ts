import type { IncomingMessage, ServerResponse } from 'node:http'
import { gzipSync } from 'node:zlib'
import t from 'tap'
import type { Test } from 'tap'
import { connect } from '../../../support/clients/client.ts'
import type { Bare } from '../../../support/clients/client.ts'
import { certificateFiles, openSession } from '../../../support/network/http2-client.ts'
import { refused, shape } from '../../../support/refusal.ts'
import { TestService } from '../../../support/service/service-app.ts'
import type { Answer } from '../../../support/service/service-app.ts'
import { until } from '../../../support/until.ts'

// Regression: with TLS, 12 unfinished batches of 7 MB held 120 MB for as long as their clients liked. Each body has a
// limit of its own, but nothing limited all of them together.

const NDJSON = 'application/x-ndjson'

/** Sends a batch without its end. */
async function startBatch (
  t: Test,
  { origin }: TestService,
  bytes: number,
  headers = 'Content-Length: 9000000\r\n'
): Promise<Bare> {
  const client = await connect(t, origin)
  client.send(
    `POST /topics/news/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: ${NDJSON}\r\n${headers}\r\n${'{"data":1}\n'.repeat(bytes / 11)}`
  )
  return client
}

const publish = (service: TestService): Promise<Answer> =>
  service.publish('news', `{"data":"${'x'.repeat(50_000)}"}`, { type: NDJSON })

t.test('bodies in progress take no more than MAX_BODIES_BYTES together; small ones pass, and there is room again when one has ended', async t => {
  const service = await TestService.start(t, { MAX_BODIES_BYTES: '100000' })
  t.equal((await publish(service)).status, 201)
  let request: IncomingMessage | undefined
  service.app.server.once('request', (unfinished: IncomingMessage) => { request = unfinished })
  const unfinished = await startBatch(t, service, 88_000)
  // Before any publish of this test, which could be the one for which there is room.
  await until(() => request !== undefined && request.socket.bytesRead >= 88_000)
  t.match(shape(await publish(service)), refused(503, 'SERVICE_BUSY', /./))
  t.equal((await publish(service)).headers.get('retry-after'), '1')
  t.equal((await service.publish('news', { data: 'small' })).status, 201, 'a small body is not counted')
  unfinished.socket.destroy()
  await until(async () => (await publish(service)).status === 201)
})

t.test('a single body may be larger, and is counted by its decompressed size', async t => {
  const service = await TestService.start(t, { MAX_BODIES_BYTES: '1024' })
  const lines = '{"data":1}\n'.repeat(9_000)
  t.equal((await service.publish('news', lines, { type: NDJSON })).status, 201)
  const { send, inbox } = await connect(t, service.origin)
  const zipped = gzipSync(lines)
  send(
    `POST /topics/news/events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Encoding: gzip\r\nContent-Type: ${NDJSON}\r\nContent-Length: ${zipped.length}\r\n\r\n`
  )
  const other = await startBatch(t, service, 55_000, 'Transfer-Encoding: chunked\r\n')
  t.match(await other.inbox.ended(), 'HTTP/1.1 400 Bad Request', 'an invalid chunk is not a body')
  send(zipped)
  t.match(await inbox.ended(), /^HTTP\/1\.1 201 /)
})

t.test('over HTTP/2 they are counted too, whatever their size', async t => {
  const { cert, key } = certificateFiles(t)
  const service = await TestService.start(t, { MAX_BODIES_BYTES: '1024', TLS_CERT: cert, TLS_KEY: key })
  const session = await openSession(t, service.origin, { rejectUnauthorized: false })
  const start = (body: string) => {
    const stream = session.request({ ':method': 'POST', ':path': '/topics/news/events', 'content-type': 'text/plain' })
    stream.write(body)
    return {
      stream,
      status: new Promise<number>(resolve => { stream.once('response', headers => resolve(headers[':status']!)) })
    }
  }
  const first = start('x'.repeat(1_000))
  await until(async () => {
    const { stream, status } = start('y'.repeat(1_000))
    stream.end()
    return await status === 503
  })
  first.stream.end()
  t.equal(await first.status, 201)
})

// Regression: a client that sent requests behind an event stream (HTTP/1.1 pipelining) and disconnected never released
// their bytes: Node closes only the response whose turn it is, and after 128 MB no publish was accepted any more.
t.test('bodies that wait behind another response are released when their connection closes', async t => {
  const service = await TestService.start(t, { MAX_BODIES_BYTES: '100000' })
  const client = await connect(t, service.origin)
  client.send('GET /events?topic=news HTTP/1.1\r\nHost: localhost\r\n\r\n')
  await client.inbox.until(text => text.includes('stream.open'))
  const body = gzipSync('{"data":1}\n'.repeat(8_000))
  const head = `Host: localhost\r\nContent-Encoding: gzip\r\nContent-Type: ${NDJSON}\r\nContent-Length: ${body.length}`
  const waiting: ServerResponse[] = []
  service.app.server.on('request', (_request: IncomingMessage, response: ServerResponse) => waiting.push(response))
  for (let sent = 0; sent < 4; sent++) {
    client.send(`POST /topics/news/events HTTP/1.1\r\n${head}\r\n\r\n`)
    client.send(body)
  }
  // Before any publish of this test, which could be the one for which there is room.
  await until(() => waiting.length === 4 && waiting.every(response => response.headersSent))
  t.equal((await publish(service)).status, 503)
  client.socket.destroy()
  await until(async () => (await publish(service)).status === 201)
})
