import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import type { Test } from 'tap'
import { MemoryLog } from '../../plugin/topics/index.ts'
import { listen } from '../support/apps/app.ts'
import { open, stall } from '../support/clients/client.ts'
import { openGzip } from '../support/clients/gzip.ts'
import { buildTopicsApp, publish } from '../support/apps/topics-app.ts'

const data = (from: number, count: number): string[] =>
  Array.from(
    { length: count },
    (_, index) => JSON.stringify({ number: from + index, text: 'event after event '.repeat((from + index) % 20) })
  )

const RETENTION = [{ topics: '*', maxEvents: 500 }]

// A client reads pages of the log, the tail of a feed, gaps and ends; each has its own kind of frame.
for (const [title, query, after] of [
  ['from the start of a topic', 'topic=news', '0-0'],
  ['from a cursor', 'topic=news', 'middle'],
  ['with a gap', 'topic=news', 'trimmed'],
  ['over several topics', 'topic=news&topic=sport', '0-0']
] as const) {
  t.test(`a compressed stream ${title} has the same bytes as an uncompressed one`, async t => {
    const app = await buildTopicsApp(t, { log: new MemoryLog({ retention: RETENTION }), sse: { gzipMinBytes: 256 } })
    const ids = await publish(app, 'news', ...data(0, 600))
    await publish(app, 'sport', ...data(0, 50))
    const cursor = { '0-0': '0-0', middle: ids[300]!, trimmed: ids[3]! }[after]
    const url = `${await listen(app)}/events?${query}${after === '0-0' ? '&after=0-0' : ''}`
    const headers: Record<string, string> = after === '0-0' ? {} : { 'last-event-id': cursor }
    const plain = await open(t, url, { headers: { accept: 'text/event-stream', ...headers } })
    const client = await openGzip(t, url, headers)
    await client.inbox.until('"number":599,')
    for (const batch of [1, 3, 200]) {
      await publish(app, 'news', ...data(1_000, batch))
      await turn()
    }
    await app.topics.close('news')
    await app.topics.close('sport')
    const text = await client.verified()
    t.equal(text, await plain.inbox.ended())
    t.match(text, after === 'trimmed' ? /event: stream\.gap/ : /event: stream\.open/)
    t.match(text, /event: stream\.end/)
    t.ok(client.raw.length < text.length / 2)
  })
}

/**
 * Bytes that 50 events add to the tail of a feed that has one client which reads nothing, and one that has everything.
 * They are published when the first one has taken all that fits into the buffers of the system, which varies.
 */
async function tailBytes (t: Test, encoding: string): Promise<number> {
  const app = await buildTopicsApp(t, { topics: { maxTailBytes: 50_000_000 }, sse: { heartbeatMs: 0 } })
  const url = `${await listen(app)}/events?topic=news`
  await stall(t, new URL(url).origin, '/events?topic=news')
  const client = await openGzip(t, url, { 'accept-encoding': encoding })
  while (app.topics.subscribers('news') < 2) await turn()
  const fill = async (events: number, last: string): Promise<number> => {
    for (let at = 0; at < events; at++) {
      await publish(app, 'news', `${at} `.padEnd(60_000, 'x'))
      await turn()
    }
    await publish(app, 'news', last)
    while (!client.raw.includes(last)) await turn()
    return app.topics.counts.tailBytes
  }
  const before = await fill(200, 'full')
  return await fill(50, 'last') - before
}

t.test('compressed forms count towards the bytes of the tail', async t => {
  const [plain, gzip] = [await tailBytes(t, 'identity'), await tailBytes(t, 'gzip')]
  t.ok(gzip > plain, `${gzip} > ${plain} bytes`)
  t.ok(gzip < plain * 1.1)
})
