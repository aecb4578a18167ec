import { randomBytes } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import t from 'tap'
import { ChunkJoiner } from '../../../../service/http/bodies/chunk-joiner.ts'
import { connect } from '../../../support/clients/client.ts'
import { until } from '../../../support/until.ts'
import { TestService } from '../../../support/service/service-app.ts'

// Regression: an HTTP chunk may contain a single byte, and each chunk of a body was kept with an overhead of some
// hundred bytes: a publish of 1 MiB, 6 MiB on the wire, used 400 MiB, and 20 of them 2.6 GiB. The limits only counted
// the bytes of the body.

const KIB = 1024

/** Adds chunks of these sizes; returns the resulting chunks and the bytes sent. */
function join (sizes: readonly number[]): { chunks: Buffer[], sent: Buffer } {
  const joiner = new ChunkJoiner()
  const sent = sizes.map(size => randomBytes(size))
  const chunks = sent.flatMap(chunk => joiner.add(chunk))
  return { chunks: [...chunks, ...joiner.flush()], sent: Buffer.concat(sent) }
}

t.test('small chunks are joined into chunks of 16 KiB, with the same bytes', async t => {
  const { chunks, sent } = join(Array.from({ length: 40 * KIB }, () => 1))
  t.same(chunks.map(({ length }) => length), [16 * KIB, 16 * KIB, 8 * KIB])
  t.ok(Buffer.concat(chunks).equals(sent))
})

t.test('for any sizes, two consecutive chunks contain more than 16 KiB', async t => {
  const mixes = [[1, 16 * KIB], [9 * KIB], [512, 513, 3], [20 * KIB, 1, 1], [16 * KIB - 1, 1, 2], [0, 700]]
  for (const mix of mixes) {
    const { chunks, sent } = join(Array.from({ length: 60 }, () => mix).flat())
    t.ok(Buffer.concat(chunks).equals(sent), mix.join())
    t.ok(chunks.slice(2).every(({ length }, at) => length + chunks[at + 1]!.length > 16 * KIB), mix.join())
  }
})

t.test('no chunk is returned for an empty input', async t => {
  t.same(join([]).chunks, [])
  t.same(join([0, 0]).chunks, [])
})

const inBytes = (text: string): string => [...text].map(byte => `1\r\n${byte}\r\n`).join('')

t.test('a publish in chunks of one byte each is received completely', async t => {
  const service = await TestService.start(t)
  const { send, inbox } = await connect(t, service.origin)
  const head = 'POST /topics/news/events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: ' +
    'chunked\r\n'
  const lines = Array.from({ length: 3_000 }, (_, at) => `{"data":${at}}\n`).join('')
  send(`${head}Content-Type: application/x-ndjson\r\n\r\n${inBytes(lines)}0\r\n\r\n`)
  t.match(await inbox.ended(), /^HTTP\/1\.1 201 /)
  const { json } = await service.call('/topics/news')
  t.equal((json as { count: number }).count, 3_000)
})

// Regression: nobody reads the body of a GET: 390 KiB on the wire used 7.6 MiB for as long as the stream was open.
const framings = [
  { name: 'in chunks', header: 'Transfer-Encoding: chunked', encode: inBytes, end: '0\r\n\r\n' },
  { name: 'of a known length', header: 'Content-Length: 6000', encode: (text: string) => text, end: '' }
]

for (const { name, header, encode, end } of framings) {
  t.test(`the body of a request for a stream is not kept while the stream is open: ${name}`, async t => {
    const service = await TestService.start(t)
    const requests: IncomingMessage[] = []
    service.app.server.on('request', (request: IncomingMessage) => requests.push(request))
    const { send, inbox } = await connect(t, service.origin)
    send(`GET /events?topic=news HTTP/1.1\r\nHost: localhost\r\n${header}\r\n\r\n${encode('x'.repeat(3_000))}`)
    await inbox.until('stream.open')
    send(encode('x'.repeat(3_000)) + end)
    await until(() => requests[0]!.readableEnded)
    await service.publish('news', { data: 'still here' })
    t.match(await inbox.until('data: still here'), /^HTTP\/1\.1 200 /)
  })
}
