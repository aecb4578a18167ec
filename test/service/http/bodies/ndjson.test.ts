import { Readable } from 'node:stream'
import t from 'tap'
import { Turns } from '../../../../plugin/topics/index.ts'
import { readLines } from '../../../../service/http/bodies/ndjson.ts'

const LIMITS = { maxBatchBytes: 16 * 1024 * 1024, maxBatchEvents: 10_000, maxEventBytes: 1_000 }

// Regression: 100 compressed batches of 283 bytes, with 10,000 events each, delayed other requests by 4 s.
t.test('large batches that arrive together leave time for other work', async t => {
  const body = Buffer.from('{"data":1}\n'.repeat(10_000))
  const turns = new Turns()
  let ticks = 0
  const other = setInterval(() => { ticks++ }, 0)
  const batches = await Promise.all(
    Array.from({ length: 10 }, () => readLines(Readable.from([body]), LIMITS, turns))
  )
  clearInterval(other)
  t.ok(batches.every(events => events.length === 10_000))
  t.ok(ticks > 2, `${ticks} ticks`)
})
