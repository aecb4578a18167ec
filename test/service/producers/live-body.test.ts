import { EventEmitter } from 'node:events'
import { PassThrough } from 'node:stream'
import { setImmediate } from 'node:timers/promises'
import type { FastifyRequest, RequestPayload } from 'fastify'
import t from 'tap'
import { Turns } from '../../../plugin/topics/index.ts'
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
  const init = { budget, silentMs: 60_000, turns: new Turns() }
  const body = new LiveBody(payload as unknown as RequestPayload, request, init)
  payload.write('\ndata: {}\n\n'.repeat(50).concat('data: x'))
  const events = body.events(new LineSplitter({ maxBytes: 100, limitName: 'LIMIT' }), FORMATS.get(type)!.create(LIMITS))
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

const BODIES = 40
const ROUNDS = 5

/** How long some rounds of the event loop take while bodies consist of nothing but line breaks, in ms. */
async function timeBlank (count: number): Promise<number> {
  const init = { budget: new ByteBudget(Infinity), silentMs: 60_000, turns: new Turns() }
  const reading = Array.from({ length: count }, async () => {
    const payload = new PassThrough()
    const request = { raw: new EventEmitter() } as FastifyRequest
    const body = new LiveBody(payload as unknown as RequestPayload, request, init)
    payload.write('\n'.repeat(60_000))
    const events = body.events(new LineSplitter({ maxBytes: 100, limitName: 'LIMIT' }), FORMATS.get('text/event-stream')!.create(LIMITS))
    const read = events.next()
    return { body, read }
  })
  const bodies = await Promise.all(reading)
  const begunAt = performance.now()
  for (let round = 0; round < ROUNDS; round++) await setImmediate()
  const took = performance.now() - begunAt
  for (const { body } of bodies) body.release()
  await Promise.allSettled(bodies.map(({ read }) => read))
  return took
}

// Regression: each chunk was read to its end before other work had its turn, so a hundred bodies of empty lines delayed
// all other requests by 4 s.
t.test('bodies of empty lines share the time of one: other work does not wait longer for more of them', async t => {
  await timeBlank(1)
  const one = await timeBlank(1)
  const many = await timeBlank(BODIES)
  t.ok(many < one * BODIES / 4, `${one} ms with one, ${many} ms with ${BODIES}`)
})
