import { once } from 'node:events'
import t from 'tap'
import type { Test } from 'tap'
import { dial } from '../../support/clients/client.ts'
import { Fuzzer } from '../../support/service/fuzzer.ts'
import type { FuzzCase } from '../../support/service/fuzzer.ts'
import { readOpenapi } from '../../support/service/openapi.ts'
import type { OpenapiDocument } from '../../support/service/openapi.ts'
import { randomFrom, seedFrom } from '../../support/random.ts'
import { answersIn } from '../../support/network/raw-answers.ts'
import type { RawAnswer } from '../../support/network/raw-answers.ts'
import { TestService } from '../../support/service/service-app.ts'
import { bearer, SECRET, sign } from '../../support/auth/tokens.ts'

// Sends requests drawn from the service's own OpenAPI document, most of them wrong somewhere, and bytes that are not
// requests, over bare sockets; a third of them to a service with authentication, with valid, invalid or no credentials.
// It must respond or close, never with a 5xx, always in the same format, and keep serving. `FUZZ_SEED=7 FUZZ_CASES=1`
// repeats the first case of a seed; a failure prints its own seed.

const CASES = Number(process.env.FUZZ_CASES ?? 1_500)
/** Some responses are rare: the test continues for a while until they have occurred. */
const MOST_CASES = CASES < 1_000 ? CASES : 20 * CASES
const EXPECTED = { open: [200, 201, 204, 400, 404, 405, 413, 415], guarded: [200, 204, 400, 401, 403] }
/** Number of concurrent cases, so that they interfere with each other. */
const LANES = 6
/** Far longer than any case needs: a case that takes this long hangs. */
const HANG_MS = 30_000

const SHAPE = ['code', 'error', 'message', 'statusCode']

/** The problem with a response; undefined if there is none. */
function wrongWith ({ status, headers, body }: RawAnswer, isHead: boolean): string | undefined {
  if (status >= 500) return `status ${status}: ${body}`
  if (status < 400 || isHead) return undefined
  if (!headers.get('content-type')?.startsWith('application/json')) {
    return `status ${status} is ${headers.get('content-type')}: ${body}`
  }
  const refusal = JSON.parse(body) as Record<string, unknown>
  const isShape = Object.keys(refusal).sort().join() === SHAPE.join() &&
    refusal.statusCode === status && /^[A-Z][A-Z_]+$/.test(String(refusal.code)) &&
    String(refusal.message).length > 0
  return isShape ? undefined : `status ${status} has the body ${body}`
}

/**
 * Node closes the connection on a CONNECT without responding, and data that is still on its way then causes a reset.
 */
function isClosing (error: unknown, bytes: Buffer): boolean {
  return bytes.toString('latin1').startsWith('CONNECT ') && (error as NodeJS.ErrnoException).code === 'ECONNRESET'
}

/** Sends a case and waits for the response, the start of a stream, or the end of the connection. */
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

/** A service, and the source of its requests; `headers` are valid credentials if it requires some. */
interface Target {
  service: TestService
  document: OpenapiDocument
  headers: Record<string, string>
  credentials: readonly string[]
}

async function runCase (
  seed: number,
  { service, document, credentials }: Target
): Promise<{ statuses: number[], problem: string | undefined }> {
  const drawn = new Fuzzer(document, randomFrom(seed), credentials).draw()
  try {
    const answers = await answersTo(drawn, service.origin)
    const problem = answers.map(
      answer => wrongWith(answer, drawn.method === 'HEAD' || (drawn.method === 'GARBAGE' && answer.body === ''))
    ).find(text => text !== undefined)
    return { statuses: answers.map(({ status }) => status), problem: problem && tell(seed, drawn, problem) }
  } catch (error) {
    return { statuses: [], problem: tell(seed, drawn, String(error)) }
  }
}

function tell (seed: number, { bytes }: FuzzCase, problem: string): string {
  return `FUZZ_SEED=${seed} FUZZ_CASES=1: ${problem}, after ${JSON.stringify(bytes.toString('latin1').slice(0, 600))}`
}

/** Every third case is for the service with authentication, whatever the first seed is. */
const isForGuarded = (seed: number): boolean => seed % 3 === 0

interface Run { problems: string[], open: Map<number, number>, guarded: Map<number, number> }

async function runAll (open: Target, guarded: Target, seed: number): Promise<Run> {
  const run: Run = { problems: [], open: new Map(), guarded: new Map() }
  let next = 0
  await Promise.all(Array.from({ length: LANES }, async () => {
    while ((next < CASES || (next < MOST_CASES && lacking(run).length > 0)) && run.problems.length < 5) {
      const own = seed + next++
      const { statuses: seen, problem } = await runCase(own, isForGuarded(own) ? guarded : open)
      const statuses = isForGuarded(own) ? run.guarded : run.open
      for (const status of seen) statuses.set(status, (statuses.get(status) ?? 0) + 1)
      if (problem !== undefined) run.problems.push(problem)
    }
  }))
  return run
}

/** Responses that have not occurred yet, and must occur if many requests are drawn. */
function lacking (run: Run): string[] {
  return (['open', 'guarded'] as const).flatMap(target => EXPECTED[target]
    .filter(status => !run[target].has(status))
    .map(status => `${target} ${status}`))
}

/** A valid publish is accepted and delivered once. */
async function serves (t: Test, { service, headers }: Target): Promise<void> {
  const { status, json } = await service.publish('still-there', { data: 'good' }, { headers })
  t.equal(status, 201)
  t.match(json, { id: /-1$/ })
  const { inbox, socket, send } = await dial(service.origin)
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`).join('')
  send(`GET /events?topic=still-there&last=1 HTTP/1.1\r\nHost: localhost\r\n${lines}\r\n`)
  await inbox.until('data: good\n\n')
  socket.destroy()
}

const LIMITS = { MAX_BODY_BYTES: '4096', MAX_BATCH_BYTES: '8192', MAX_EVENT_BYTES: '2048' }

async function startOpen (t: Test): Promise<Target> {
  const service = await TestService.start(t, LIMITS)
  return { service, document: await readOpenapi(service), headers: {}, credentials: [] }
}

async function startGuarded (t: Test): Promise<Target> {
  const service = await TestService.start(t, { ...LIMITS, JWT_SECRET: SECRET, COOKIE_NAME: 'token' })
  const [all, some] = await Promise.all(
    [['*'], ['fuzz*']].map(topics => sign({ topics: { subscribe: topics, publish: topics, revoke: true } }))
  )
  return {
    service,
    document: await readOpenapi(service),
    headers: bearer(all!),
    credentials: [`Authorization: Bearer ${all}`, `Cookie: token=${some}`]
  }
}

const shown = (statuses: Map<number, number>): string =>
  [...statuses].sort().map(([status, count]) => `${count} × ${status}`).join(', ')

t.test('the fuzzer draws requests of every kind without an error', async t => {
  const document = await readOpenapi(await TestService.start(t))
  const seed = seedFrom('FUZZ_SEED')
  for (let own = seed; own < seed + 3_000; own++) new Fuzzer(document, randomFrom(own)).draw()
})

t.test('for any input the service responds or closes, in one shape and never with a 5xx, and continues to serve', async t => {
  const [open, guarded] = await Promise.all([startOpen(t), startGuarded(t)])
  const seed = seedFrom('FUZZ_SEED')
  const run = await runAll(open, guarded, seed)
  t.comment(`seed ${seed}: ${shown(run.open)}; with credentials asked for ${shown(run.guarded)}`)
  t.same(run.problems, [])
  if (CASES >= 1_000) t.same(lacking(run), [], 'all kinds of responses')
  await serves(t, open)
  await serves(t, guarded)
})
