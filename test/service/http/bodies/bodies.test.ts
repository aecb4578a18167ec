import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import http from 'node:http'
import { brotliCompressSync, createGzip, deflateSync, gzipSync } from 'node:zlib'
import t from 'tap'
import type { Test } from 'tap'
import { connect, open } from '../../../support/clients/client.ts'
import { RedisServer } from '../../../support/redis/redis-server.ts'
import { refused, shape } from '../../../support/refusal.ts'
import { read, TestService } from '../../../support/service/service-app.ts'
import type { Answer, CallOptions } from '../../../support/service/service-app.ts'

// How bodies are read: NDJSON line by line, compressed ones with a limit on the decompressed size, and all of them as
// UTF-8.

const NDJSON = 'application/x-ndjson'

/** Sends bytes unchanged. */
async function publishBytes (
  service: TestService,
  bytes: Uint8Array,
  type: string,
  headers: Record<string, string> = {}
): Promise<Answer> {
  return read(await fetch(`${service.origin}/topics/news/events`, {
    method: 'POST',
    headers: { connection: 'close', 'content-type': type, ...headers },
    body: bytes as Uint8Array<ArrayBuffer>
  }))
}

function publishLines (service: TestService, text: string, options: CallOptions = {}): Promise<Answer> {
  return service.publish('news', text, { type: NDJSON, ...options })
}

/** The data of a topic's stored events. */
async function dataOf (t: Test, service: TestService, topic: string, end: string): Promise<string[]> {
  const { inbox, close } = await open(t, `${service.origin}/events?topic=${topic}&last=10000`)
  const text = await inbox.until(`data: ${end}\n`)
  close()
  return text.split('\n').filter(line => /^data: ./.test(line)).map(line => line.slice('data: '.length))
}

t.test('NDJSON is a batch: one event per line, empty lines skipped, the last line with or without a line break', async t => {
  const service = await TestService.start(t)
  for (const [at, text] of [
    '{"data":"a"}\n{"data":"b","event":"x"}\n', '\n{"data":"a"}\r\n\r\n \t\n{"data":"b"}', '{"data":"a"}'
  ].entries()) {
    const { status, json } = await publishLines(service, text)
    t.equal(status, 201)
    t.equal((json as { ids: string[] }).ids.length, at === 2 ? 1 : 2, text)
  }
  await service.publish('news', { data: 'end' })
  t.same(await dataOf(t, service, 'news', 'end'), ['a', 'b', 'a', 'b', 'a', 'end'])
})

t.test('lines may be split anywhere during transfer, also within a character', async t => {
  const service = await TestService.start(t)
  const bytes = Buffer.from('{"data":"zwei · 二"}\n{"data":"drei \u2028 🙂"}\n')
  const { hostname, port } = new URL(service.origin)
  const request = http.request({
    hostname, port, agent: false, method: 'POST', path: '/topics/news/events', headers: { 'content-type': NDJSON }
  })
  for (const byte of bytes) {
    request.write(Buffer.of(byte))
    await new Promise(resolve => { setImmediate(resolve) })
  }
  request.end()
  const [response] = await once(request, 'response') as [http.IncomingMessage]
  t.equal(response.statusCode, 201)
  response.resume()
  t.same(await dataOf(t, service, 'news', 'drei \u2028 🙂'), ['zwei · 二', 'drei \u2028 🙂'])
})

t.test('an invalid line is reported with its problem, and nothing of its batch is published', async t => {
  const service = await TestService.start(t)
  const good = '{"data":1}\n'
  const bodies: [string, string, RegExp][] = [
    ['{', 'SERVICE_BAD_LINE', /^line 1 must be a JSON object, saw "{"$/],
    [`${good}\n${good}{"data":2}{`, 'SERVICE_BAD_LINE', /^line 4 /],
    [`${good}{"data":{"__proto__":{"a":1}}}`, 'SERVICE_BAD_LINE', /^line 2 /],
    [`${good}[]`, 'TOPICS_BAD_EVENT', /^event on line 2: must be an object { event\?, data, retry\? }, saw \[\]$/],
    [
      `${good}{"data":1,"event":"stream.x"}\n${good}{`,
      'TOPICS_BAD_EVENT',
      /^event on line 2: field "event" must not begin with "stream."/
    ],
    ['', 'TOPICS_BAD_BATCH', /must have 1 to 10000 events, saw 0/], ['\n\n', 'TOPICS_BAD_BATCH', /saw 0/]
  ]
  for (const [body, code, message] of bodies) {
    t.match(shape(await publishLines(service, body)), refused(400, code, message), body)
  }
  t.match(
    shape(await publishBytes(service, Buffer.concat([Buffer.from(good), Buffer.of(0x22, 0xff, 0x22)]), NDJSON)),
    refused(400, 'SERVICE_BAD_LINE', /^line 2 must be UTF-8, saw other bytes$/)
  )
  t.match(
    shape(await publishLines(service, `${good}{"data":"${'x'.repeat(262_144)}"}`)),
    refused(413, 'TOPICS_EVENT_TOO_LARGE', /^event on line 2: must be at most 262144 bytes/)
  )
  t.match(await service.counts('news'), [{ count: 0, last: null }])
})

t.test('the largest batch is accepted completely by every log, and an open stream receives it in order', async t => {
  const redis = await RedisServer.start(t)
  const lines = Array.from({ length: 10_000 }, (_, at) => JSON.stringify({ data: `${at} ${'x'.repeat(100)}` }))
  for (const env of [
    { LOG: 'memory' }, { LOG: 'lmdb', DATA_DIR: t.testdir() }, { LOG: 'redis', REDIS_URL: redis.url }
  ]) {
    const service = await TestService.start(t, env)
    const { inbox, close } = await open(t, `${service.origin}/events?topic=news`)
    await inbox.until('stream.open')
    const answer = await publishBytes(service, gzipSync(lines.join('\n')), NDJSON, { 'content-encoding': 'gzip' })
    t.equal(answer.status, 201, answer.text.slice(0, 200))
    const text = await inbox.until('data: 9999 ')
    t.same([...text.matchAll(/^data: (\d+) /gm)].map(match => Number(match[1])), lines.map((_, at) => at), env.LOG)
    close()
  }
})

t.test('a batch of NDJSON may have ten thousand events and more bytes than a body of JSON', async t => {
  const service = await TestService.start(t)
  const line = (at: number): string => JSON.stringify({ data: `${at} ${'x'.repeat(200)}` }) + '\n'
  const lines = Array.from({ length: 10_000 }, (_, at) => line(at))
  const { status, json } = await publishLines(service, lines.join(''))
  t.equal(status, 201)
  t.equal((json as { ids: string[] }).ids.length, 10_000)
  t.match(
    shape(await publishLines(service, lines.join('') + line(0))),
    refused(400, 'TOPICS_BAD_BATCH', /must have 1 to 10000 events, saw another on line 10001/)
  )
  t.match(await service.counts('news'), [{ count: 10_000 }])
})

t.test('the limits of batches and bodies are those of the configuration, and are named in the error', async t => {
  const service = await TestService.start(t, {
    MAX_BATCH_EVENTS: '2', MAX_BODY_BYTES: '1024', MAX_BATCH_BYTES: '2048', MAX_EVENT_BYTES: '900'
  })
  const three = [{ data: 1 }, { data: 2 }, { data: 3 }]
  t.match(
    shape(await service.publish('news', three)),
    refused(400, 'TOPICS_BAD_BATCH', /must have 1 to 2 events, saw 3/)
  )
  t.match(
    shape(await publishLines(service, three.map(event => JSON.stringify(event)).join('\n'))),
    refused(400, 'TOPICS_BAD_BATCH', /1 to 2 events/)
  )
  t.match(
    shape(await service.publish('news', { data: 'x'.repeat(1_024) })),
    refused(413, 'SERVICE_BODY_TOO_LARGE', /at most 1024 bytes/)
  )
  t.match(
    shape(await service.publish('news', 'x'.repeat(1_025), { type: 'text/plain' })),
    refused(413, 'SERVICE_BODY_TOO_LARGE', /at most 1024 bytes/)
  )
  t.match(
    shape(await publishLines(service, ' '.repeat(2_049))),
    refused(413, 'SERVICE_BODY_TOO_LARGE', /at most 2048 bytes/)
  )
  t.match(
    shape(await service.publish('news', { data: 'x'.repeat(900) })),
    refused(413, 'TOPICS_EVENT_TOO_LARGE', /at most 900 bytes/)
  )
  t.match(await service.counts('news'), [{ count: 0 }])
  t.equal((await publishLines(service, `{"data":1}${' '.repeat(2_027)}\n{"data":2}`)).status, 201, 'exactly at the limit')
})

const COMPRESS = {
  gzip: gzipSync,
  'x-gzip': gzipSync,
  GZIP: gzipSync,
  deflate: deflateSync,
  br: brotliCompressSync,
  identity: (bytes: Buffer) => bytes
}

t.test('H08 a body may be compressed, whatever its type', async t => {
  const service = await TestService.start(t)
  const bodies = { 'application/json': '[{"data":"two"}]', [NDJSON]: '{"data":"two"}\n', 'text/plain': 'two' }
  for (const [encoding, compress] of Object.entries(COMPRESS)) {
    for (const [type, body] of Object.entries(bodies)) {
      t.match(await publishBytes(service, compress(Buffer.from(body)), type, { 'content-encoding': encoding }), {
        status: 201
      }, `${type} ${encoding}`)
    }
  }
  t.match(await service.counts('news'), [{ count: 18 }])
})

t.test('H08 another encoding is rejected with the supported ones', async t => {
  const service = await TestService.start(t)
  for (const encoding of ['zstd', 'gzip, gzip', 'compress', '*']) {
    const answer = await service.publish('news', { data: 1 }, { headers: { 'content-encoding': encoding } })
    t.match(
      shape(answer),
      refused(415, 'SERVICE_BAD_ENCODING', /must be one of gzip, deflate, br, identity, saw "/),
      encoding
    )
    t.equal(answer.headers.get('accept-encoding'), 'gzip, deflate, br, identity')
  }
  t.equal((await service.publish('news', { data: 1 }, { headers: { 'content-encoding': '' } })).status, 201)
  t.equal(
    (await service.call('/topics/news', { headers: { 'content-encoding': 'zstd' } })).status,
    200,
    'without a body the header is ignored'
  )
})

t.test('a body that is not compressed as declared, or was cut off, is rejected', async t => {
  const service = await TestService.start(t)
  const whole = Buffer.from(JSON.stringify({ data: randomBytes(4_000).toString('hex') }))
  for (const type of ['application/json', NDJSON, 'text/plain']) {
    for (const encoding of ['gzip', 'deflate', 'br'] as const) {
      const compressed = COMPRESS[encoding](whole)
      for (const body of [whole, compressed.subarray(0, -9), compressed.subarray(0, 20), Buffer.alloc(0)]) {
        const answer = await publishBytes(service, body, type, { 'content-encoding': encoding })
        // No bytes at all are an empty body for zlib, which is invalid JSON, but a valid text event.
        if (body.length === 0) t.ok([201, 400].includes(answer.status), `${encoding} ${type}: ${answer.text}`)
        else {
          t.match(
            shape(answer),
            refused(400, 'SERVICE_BAD_BODY', new RegExp(`the body is not valid ${encoding}, although Content-Encoding is ${encoding}`)),
          `${encoding} ${type} ${body.length}`
          )
        }
      }
    }
  }
})

/** Zero bytes compressed with gzip, to a thousandth of their size. */
async function bombOf (bytes: number): Promise<Buffer> {
  const gzip = createGzip({ level: 9 })
  const chunks: Buffer[] = []
  gzip.on('data', (chunk: Buffer) => chunks.push(chunk))
  const zeros = Buffer.alloc(1024 * 1024, '\n')
  for (let done = 0; done < bytes; done += zeros.length) if (!gzip.write(zeros)) await once(gzip, 'drain')
  gzip.end()
  await once(gzip, 'end')
  return Buffer.concat(chunks)
}

// Deflate expands a thousandfold; the result must never be in memory, and decompression must stop at the limit.
t.test('a small body that expands to a quarter of a gigabyte is rejected at its limit, with bounded memory', async t => {
  const service = await TestService.start(t)
  const bomb = await bombOf(256 * 1024 * 1024)
  t.ok(bomb.length < 512 * 1024, 'it is small when compressed')
  for (const [type, limit] of [
    ['application/json', 1_048_576], ['text/plain', 1_048_576], [NDJSON, 16_777_216]
  ] as const) {
    const before = process.memoryUsage()
    const answers = await Promise.all(Array.from(
      { length: 4 },
      () => publishBytes(service, bomb, type, { 'content-encoding': 'gzip' })
    ))
    for (const answer of answers) {
      t.match(
        shape(answer),
        refused(413, 'SERVICE_BODY_TOO_LARGE', new RegExp(`at most ${limit} bytes after decompression`))
      )
    }
    const { arrayBuffers, heapUsed } = process.memoryUsage()
    const grown = arrayBuffers + heapUsed - before.arrayBuffers - before.heapUsed
    t.ok(grown < 100 * 1024 * 1024, `${type}: ${Math.round(grown / 1024 / 1024)} MiB more`)
  }
})

t.test('text that is not UTF-8 is rejected: it would be received as other text', async t => {
  const service = await TestService.start(t)
  for (const type of ['application/json', 'text/plain', 'text/plain; charset=iso-8859-1']) {
    t.match(
      shape(await publishBytes(service, Buffer.from('{"data":"é"}', 'latin1'), type)),
      refused(400, 'SERVICE_BAD_BODY', /^the body must be UTF-8$/),
      type
    )
  }
  t.match(await service.counts('news'), [{ count: 0 }])
})

t.test('calls without a body accept an empty one of any type, and ignore other bodies', async t => {
  const service = await TestService.start(t)
  for (const type of ['application/json', 'application/x-www-form-urlencoded', 'text/html', NDJSON]) {
    for (const body of ['', '{}', 'not json']) {
      t.match(await service.call('/topics/news/close', { method: 'POST', body, type }), {
        status: 204, text: ''
      }, `close ${type} ${body}`)
      t.match(await service.call('/topics/news', { method: 'DELETE', body, type }), {
        status: 204, text: ''
      }, `delete ${type} ${body}`)
    }
  }
  t.match(
    shape(await service.call('/topics/news/close', { method: 'POST', body: 'x'.repeat(1_048_577) })),
    refused(413, 'SERVICE_BODY_TOO_LARGE', /1048576/)
  )
})

t.test('a client that disconnects in the middle of its body leaves nothing behind', async t => {
  const service = await TestService.start(t)
  for (const [type, encoding] of [
    [NDJSON, 'identity'], [NDJSON, 'gzip'], ['application/json', 'gzip'], ['application/json', 'br']
  ] as const) {
    const { socket, send } = await connect(t, service.origin)
    const body = COMPRESS[encoding](Buffer.from('{"data":"x"}\n'.repeat(2_000)))
    send(
      `POST /topics/news/events HTTP/1.1\r\nHost: test\r\nContent-Type: ${type}\r\nContent-Encoding: ${encoding}\r\nContent-Length: ${body.length + 9}\r\n\r\n`
    )
    socket.write(body)
    const served = once(service.app.server, 'connection')
    await service.counts('news')
    await served
    socket.resetAndDestroy()
  }
  t.match(await service.counts('news'), [{ count: 0 }])
})
