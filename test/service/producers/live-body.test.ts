import { EventEmitter } from 'node:events'
import { PassThrough } from 'node:stream'
import type { FastifyRequest, RequestPayload } from 'fastify'
import t from 'tap'
import { ByteBudget } from '../../../service/http/bodies/byte-budget.ts'
import { FORMATS } from '../../../service/producers/formats.ts'
import { LineSplitter } from '../../../service/producers/lines.ts'
import { LiveBody } from '../../../service/producers/live-body.ts'

const MAX_BYTES = 1_000
const LIMITS = { maxEventBytes: 100, maxBodyBytes: 100, maxBatchBytes: 100, maxBatchEvents: 1 }

/** A body of which some events are read and stored before its request is over, and the rest of the chunk afterwards. */
async function abort (
  budget: ByteBudget,
  type: string,
  { read, stored }: { read: number, stored: number }
): Promise<void> {
  const payload = new PassThrough()
  const request = { raw: new EventEmitter() } as FastifyRequest
  const body = new LiveBody(payload as unknown as RequestPayload, request, { budget, silentMs: 60_000 })
  payload.write('\ndata: {}\n\n'.repeat(50).concat('data: x'))
  const events = body.events(new LineSplitter(100, 'LIMIT'), FORMATS.get(type)!.create(LIMITS))
  for (let at = 0; at < read; at++) await events.next()
  body.settle(stored)
  body.release()
  let settled = stored
  // The reader sees that the body ends early.
  await t.rejects(async () => { for await (const event of events) if (event) body.settle(++settled) })
  body.settle(settled)
  t.ok(settled > stored, 'the rest was read')
}

// Regression: what was read after the request was over was given back twice, so that MAX_BODIES_BYTES grew by the size
// of a chunk with each live publish that was broken off.
t.test('a live body gives its bytes back once, however much of it is read after its request is over', async () => {
  const budget = new ByteBudget(MAX_BYTES)
  for (const type of ['text/plain', 'text/event-stream']) {
    for (let read = 1; read < 40; read++) await abort(budget, type, { read, stored: Math.floor(read / 2) })
  }
  t.ok(budget.take(1, 0))
  t.notOk(budget.take(MAX_BYTES, 0), 'no more than it was')
  t.ok(budget.take(MAX_BYTES - 1, 0), 'and no less')
})
