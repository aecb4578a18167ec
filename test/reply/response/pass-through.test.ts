import t from 'tap'
import http from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'
import { injectSse } from '../../../plugin/testing/index.ts'
import { BlockSplitter } from '../../../plugin/reply/response/pass-through.ts'
import { buildApp, listen } from '../../support/apps/app.ts'
import { fetchAll, open } from '../../support/clients/client.ts'
import { randomFrom, seedFrom } from '../../support/random.ts'

const PREAMBLE = ':\nretry: 3000\n'

/** A real upstream: an HTTP server that streams as the test prescribes. */
async function upstream (t: Test, answer: (response: http.ServerResponse) => void): Promise<string> {
  const server = http.createServer((request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' })
    answer(response)
  })
  t.teardown(() => { server.closeAllConnections(); server.close() })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

// [name, upstream text, what is forwarded]
const bodies: [string, string, string][] = [
  ['LF', 'data: a\n\ndata: b\n\n', 'data: a\n\ndata: b\n\n'],
  ['CR LF', 'data: a\r\n\r\ndata: b\r\n\r\n', 'data: a\r\n\r\ndata: b\r\n\r\n'],
  ['CR', 'data: a\r\rdata: b\r\r', 'data: a\r\rdata: b\r\r'],
  ['mixed line ends', 'data: a\r\n\ndata: b\n\r', 'data: a\r\n\ndata: b\n\r'],
  ['a block that is not finished is dropped', 'data: a\n\ndata: b\n', 'data: a\n\n'],
  ['nothing but an unfinished block', 'data: a', ''],
  ['a byte order mark at the start is dropped, one further on is text', '\ufeffdata: \ufeffa\n\n', 'data: \ufeffa\n\n'],
  ['several lines in a block', 'id: 1\nevent: e\ndata: 1\ndata: 2\n\n', 'id: 1\nevent: e\ndata: 1\ndata: 2\n\n'],
  ['nothing', '', ''],
  ['less than a byte order mark', '\n\n', '']
]

t.test('complete blocks are passed on, wherever the upstream splits them (SSE_SEED reruns a seed)', async t => {
  const seed = seedFrom('SSE_SEED')
  t.comment(`SSE_SEED=${seed}`)
  const random = randomFrom(seed)
  for (const [name, text, wanted] of bodies) {
    for (const size of [1, 2, 3, 1000, 0, 0, 0]) {
      const splitter = new BlockSplitter(1024)
      const bytes = Buffer.from(text)
      const passed: Buffer[] = []
      for (let at = 0; at < bytes.length;) {
        const length = size || 1 + random(5)
        passed.push(splitter.take(bytes.subarray(at, at + length)))
        at += length
      }
      const ends = passed.filter(block => block.length > 0)
        .map(block => block.toString().replace(/\r\n?/g, '\n').slice(-2))
      t.ok(ends.every(end => end === '\n\n'), `${name}: never in the middle of a block`)
      // If a chunk ends between the CR and the LF of the last line end, the LF belongs to no block.
      t.equal(Buffer.concat(passed).toString().replace(/\n$/, ''), wanted.replace(/\n$/, ''), `${name}, cut at ${size}`)
    }
  }
})

t.test('a real upstream is passed on to its end', async t => {
  const url = await upstream(t, response => response.end('\ufeffid: 1\ndata: ü\n\ndata: lost'))
  const app = await buildApp(t)
  app.get('/', async (request, reply) => reply.sse(await fetch(url)))
  t.equal((await fetchAll(t, await listen(app))).text, `${PREAMBLE}id: 1\ndata: ü\n\n`)
})

t.test('heartbeats and the error report never fall inside an upstream block', async t => {
  let halves!: http.ServerResponse
  const url = await upstream(t, response => { halves = response; response.write('data: a\n\ndata: half') })
  const app = await buildApp(t, { heartbeatMs: 20 })
  app.get('/', async (request, reply) => reply.sse(await fetch(url)))
  const { inbox } = await open(t, await listen(app))
  await inbox.until('data: a\n\n:\n')
  halves.destroy()
  t.match(
    await inbox.ended(),
    /data: a\n\n(:\n)+event: stream\.error\ndata: \{"statusCode":500,"error":"Internal Server Error","message":"Internal Server Error"\}\n\n$/
  )
})

t.test('a fetch aborted by the signal of its stream is not an error', async t => {
  let aborted!: Promise<unknown>
  const url = await upstream(t, response => { aborted = once(response, 'close'); response.write('data: a\n\n') })
  const app = await buildApp(t, { onError: () => { t.fail('no error') } })
  app.get('/', (request, reply) => reply.sse(async stream => fetch(url, { signal: stream.signal })))
  const client = await open(t, await listen(app))
  await client.inbox.until('data: a')
  client.close()
  await aborted
})

t.test('a block larger than maxBufferedBytes is an error, and the upstream is released', async t => {
  let answer!: http.ServerResponse
  const url = await upstream(t, response => { answer = response; response.write('data: a\n\n') })
  const app = await buildApp(t, { maxBufferedBytes: 2048 })
  app.get('/', async (request, reply) => reply.sse(await fetch(url)))
  const client = await injectSse(app, '/')
  await client.next()
  const closed = once(answer, 'close')
  answer.write(`data: ${'x'.repeat(3000)}`)
  t.match((await client.end())[1], {
    event: 'stream.error', data: '{"statusCode":502,"error":"Bad Gateway","message":"Bad Gateway"}'
  })
  await closed
})

t.test('many small chunks of a large block are copied a bounded number of times', async t => {
  const splitter = new BlockSplitter(2_000_000)
  const chunk = Buffer.from('0123456789')
  // Quadratic work would be 10^11 bytes here, and take minutes.
  let early = 0
  for (let n = 0; n < 150_000; n++) early += splitter.take(chunk).length
  t.equal(early, 0)
  t.equal(splitter.take(Buffer.from('\n\n')).length, 1_500_002)
  t.throws(() => new BlockSplitter(1024).take(Buffer.alloc(1025, 'x')), {
    code: 'FST_SSE_UPSTREAM_TOO_LARGE', statusCode: 502
  })
})

t.test('a stalled client slows the upstream down, and closes it by disconnecting', async t => {
  const block = Buffer.from(`data: ${'x'.repeat(100_000)}\n\n`)
  let blocks = 0
  let closed!: Promise<unknown>
  const url = await upstream(t, response => {
    const pour = (): void => { do blocks++; while (response.write(block)) }
    response.on('drain', pour)
    closed = once(response, 'close')
    pour()
  })
  const app = await buildApp(t, { maxBufferedBytes: 200_000 })
  app.get('/', async (request, reply) => {
    const response = await fetch(url)
    return reply.sse(stream => {
      t.equal(stream.maxBufferedBytes, 200_000)
      const watch = setInterval(() => { if (stream.isFull) app.server.emit('full') }, 5)
      void stream.closed.then(() => clearInterval(watch))
      return response
    })
  })
  const origin = await listen(app)
  const isFull = once(app.server, 'full')
  const client = await open(t, origin)
  client.response.pause()
  await isFull
  client.close()
  await closed
  t.ok(blocks < 2000, `${blocks} blocks of 100 kB`)
})
