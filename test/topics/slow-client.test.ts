import { channel } from 'node:diagnostics_channel'
import type { Socket } from 'node:net'
import t from 'tap'
import type { SseStream } from '../../plugin/index.ts'
import { MemoryLog } from '../../plugin/topics/index.ts'
import { listen } from '../support/apps/app.ts'
import { open, stall } from '../support/clients/client.ts'
import { buildTopicsApp, publish } from '../support/apps/topics-app.ts'
import { stuck, until } from '../support/until.ts'

const EVENTS = 600
const EVENT_BYTES = 40_000
/**
 * How much a stream may hold for a client: what it accepts before it is full, plus one page or the batch of one tick.
 */
const MAX_HELD_BYTES = 512 * 1024

/** The numbers of the events in a stream's text, in order. */
function numbersIn (text: string): number[] {
  return [...text.matchAll(/^data: (\d+) x/gm)].map(match => Number(match[1]))
}

// 24 MB: more than the kernel accepts for a socket that nobody reads, and far more than the tail of the feed.
t.test('a client that stops reading costs only its position: it receives everything once when it continues, and others never wait', async t => {
  const app = await buildTopicsApp(t, {
    log: new MemoryLog({ retention: [{ topics: '*', maxEvents: 10_000 }] }),
    topics: { maxTailBytes: 100_000 },
    sse: { heartbeatMs: 0 }
  })
  const sockets: Socket[] = []
  app.server.on('connection', socket => { sockets.push(socket) })
  const origin = await listen(app)
  const slow = await stall(t, origin, '/events?topic=hot')
  const quick = await open(t, `${origin}/events?topic=hot`)
  await quick.inbox.until('stream.open')
  const wanted = Array.from({ length: EVENTS }, (_, at) => at)
  let mostHeld = 0
  for (const at of wanted) {
    await app.topics.publish('hot', { data: `${at} x`.padEnd(EVENT_BYTES, 'x') })
    await new Promise(resolve => setImmediate(resolve))
    mostHeld = Math.max(mostHeld, ...sockets.map(socket => socket.writableLength))
  }
  await quick.inbox.untilBytes(EVENTS * EVENT_BYTES)
  await quick.inbox.until(text => text.includes(`data: ${EVENTS - 1} x`) && text.endsWith('\n\n'))
  t.same(numbersIn(quick.inbox.text), wanted, 'the others have received everything while it reads nothing')
  t.ok(mostHeld < MAX_HELD_BYTES, `at most ${mostHeld} bytes were held`)
  t.equal(slow.inbox.bytes, 0)
  slow.socket.resume()
  await slow.inbox.untilBytes(EVENTS * EVENT_BYTES)
  await slow.inbox.until(text => text.includes(`data: ${EVENTS - 1} x`))
  t.same(numbersIn(slow.inbox.text), wanted)
  await app.topics.publish('hot', { data: 'after x' })
  await slow.inbox.until('data: after x')
})

// Regression: pages were limited by the bytes of data. With a cursor of 44 topics, an event of one byte is a thousand
// bytes on the wire: clients that read nothing cost 1.6 MB each.
t.test('what is buffered for a client that reads nothing is counted as sent: 44 topics, long cursors and events of one byte', async t => {
  const app = await buildTopicsApp(t, { sse: { heartbeatMs: 0 } })
  const topics = Array.from({ length: 44 }, (_, at) => `topic.${at}`)
  for (const topic of topics) await publish(app, topic, ...Array.from({ length: 1_000 }, () => 'x'))
  const streams: SseStream[] = []
  const onOpen = (message: unknown): void => { streams.push((message as { stream: SseStream }).stream) }
  channel('sse.stream.open').subscribe(onOpen)
  t.teardown(() => { channel('sse.stream.open').unsubscribe(onOpen) })
  const slow = await stall(t, await listen(app), `/events?last=1000&${topics.map(topic => `topic=${topic}`).join('&')}`)
  await until(() => streams.length === 1)
  const [stream] = streams
  await stuck(stream!)
  t.ok(stream!.bufferedBytes < 3 * 65_536, `${stream!.bufferedBytes} bytes`)
  slow.socket.destroy()
})
