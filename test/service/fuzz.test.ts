import { once } from 'node:events'
import t from 'tap'
import type { Test } from 'tap'
import { dial } from '../support/client.ts'
import { Fuzzer } from '../support/fuzzer.ts'
import type { FuzzCase } from '../support/fuzzer.ts'
import { readOpenapi } from '../support/openapi.ts'
import type { OpenapiDocument } from '../support/openapi.ts'
import { randomFrom, seedFrom } from '../support/random.ts'
import { answersIn } from '../support/raw-answers.ts'
import type { RawAnswer } from '../support/raw-answers.ts'
import { TestService } from '../support/service-app.ts'

// Requests drawn from the service's own description, most of them wrong somewhere, and bytes that are none, over bare
// sockets. It must answer or close, never with a 5xx, always in the one shape, and go on serving. `FUZZ_SEED=7
// FUZZ_CASES=1` runs the first case of a seed again; a failure names its own seed.

const CASES = Number(process.env.FUZZ_CASES ?? 1_500)
/** Cases under way at once, so that they meet each other. */
const LANES = 6
/** Nothing in a case needs as long: a case that takes it hangs. */
const HANG_MS = 30_000

const SHAPE = ['code', 'error', 'message', 'statusCode']

/** What is wrong with an answer; undefined when nothing is. */
function wrongWith ({ status, headers, body }: RawAnswer, isHead: boolean): string | undefined {
  if (status >= 500) return `status ${status}: ${body}`
  if (status < 400 || isHead) return undefined
  if (!headers.get('content-type')?.startsWith('application/json')) return `status ${status} is ${headers.get('content-type')}: ${body}`
  const refusal = JSON.parse(body) as Record<string, unknown>
  const isShape = Object.keys(refusal).sort().join() === SHAPE.join() && refusal.statusCode === status && /^[A-Z][A-Z_]+$/.test(String(refusal.code)) && String(refusal.message).length > 0
  return isShape ? undefined : `status ${status} has the body ${body}`
}

/** Node closes on a CONNECT without an answer, and what is still on its way to it then resets the connection. */
function isClosing (error: unknown, bytes: Buffer): boolean {
  return bytes.toString('latin1').startsWith('CONNECT ') && (error as NodeJS.ErrnoException).code === 'ECONNRESET'
}

/** Sends a case and waits for the answer, the beginning of a stream, or the end of the connection. */
async function answersTo ({ bytes, method, isOpenEnded }: FuzzCase, origin: string): Promise<RawAnswer[]> {
  const { socket, inbox } = await dial(origin)
  const hang = setTimeout(() => { socket.destroy(new Error('hangs')) }, HANG_MS)
  const failed = once(socket, 'close').catch((error: unknown) => { if (!isClosing(error, bytes)) throw error })
    .then(() => { if (socket.errored?.message === 'hangs') throw socket.errored })
  socket.write(bytes)
  if (isOpenEnded) socket.end()
  try {
    await Promise.race([inbox.ended(), failed, inbox.until('event: stream.open\n').catch(() => {})])
    await (inbox.isOver ? failed : undefined)
    return answersIn(inbox.text, [method])
  } finally {
    clearTimeout(hang)
    socket.destroy()
  }
}

async function runCase (seed: number, document: OpenapiDocument, origin: string): Promise<{ statuses: number[], problem: string | undefined }> {
  const drawn = new Fuzzer(document, randomFrom(seed)).draw()
  try {
    const answers = await answersTo(drawn, origin)
    const problem = answers.map(answer => wrongWith(answer, drawn.method === 'HEAD' || (drawn.method === 'GARBAGE' && answer.body === ''))).find(text => text !== undefined)
    return { statuses: answers.map(({ status }) => status), problem: problem && tell(seed, drawn, problem) }
  } catch (error) {
    return { statuses: [], problem: tell(seed, drawn, String(error)) }
  }
}

function tell (seed: number, { bytes }: FuzzCase, problem: string): string {
  return `FUZZ_SEED=${seed} FUZZ_CASES=1: ${problem}, after ${JSON.stringify(bytes.toString('latin1').slice(0, 600))}`
}

async function runAll (service: TestService, seed: number): Promise<{ problems: string[], statuses: Map<number, number> }> {
  const document = await readOpenapi(service)
  const problems: string[] = []
  const statuses = new Map<number, number>()
  let next = 0
  await Promise.all(Array.from({ length: LANES }, async () => {
    while (next < CASES && problems.length < 5) {
      const { statuses: seen, problem } = await runCase(seed + next++, document, service.origin)
      for (const status of seen) statuses.set(status, (statuses.get(status) ?? 0) + 1)
      if (problem !== undefined) problems.push(problem)
    }
  }))
  return { problems, statuses }
}

/** A good publish is taken and heard, once. */
async function serves (t: Test, service: TestService): Promise<void> {
  const { status, json } = await service.publish('still-there', { data: 'good' })
  t.equal(status, 201)
  t.match(json, { id: /-1$/ })
  const { inbox, socket, send } = await dial(service.origin)
  send('GET /events?topic=still-there&last=1 HTTP/1.1\r\nHost: localhost\r\n\r\n')
  await inbox.until('data: good\n\n')
  socket.destroy()
}

t.test('whatever is sent, the service answers or closes, in one shape and never with a 5xx, and goes on serving', async t => {
  const service = await TestService.start(t, { MAX_BODY_BYTES: '4096', MAX_BATCH_BYTES: '8192', MAX_EVENT_BYTES: '2048' })
  const seed = seedFrom('FUZZ_SEED')
  const { problems, statuses } = await runAll(service, seed)
  t.comment(`seed ${seed}: ${[...statuses].sort().map(([status, count]) => `${count} × ${status}`).join(', ')}`)
  t.same(problems, [])
  if (CASES >= 1_000) for (const status of [200, 201, 204, 400, 404, 405, 413, 415]) t.ok(statuses.has(status), `${status} was among the answers`)
  await serves(t, service)
})
