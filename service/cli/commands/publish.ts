import { randomUUID } from 'node:crypto'
import type { Readable } from 'node:stream'
import { setTimeout as pause } from 'node:timers/promises'
import type { PublishEvent } from 'fastify-resumable-sse/topics'
import { CLIENT_FLAGS, CommandError, serviceOf, UsageError } from '../command.ts'
import type { Call, Command, Terminal } from '../command.ts'
import { describeRefusal } from '../error-response.ts'

/** As many events as one publish may hold. */
const MAX_BATCH_EVENTS = 1_000

/** Pauses before each further try, in ms: as long as a restart behind a proxy takes. */
const PAUSES_MS = [200, 400, 800, 1_600]

/** `resumable-sse publish TOPIC [DATA]`. Prints the id of each event. */
export const publish: Command = {
  usage: 'TOPIC [DATA]',
  summary: 'Publish DATA, or each line of stdin, and print the ids.',
  flags: {
    event: { value: 'NAME', meaning: 'Name of the events.' },
    ndjson: { value: undefined, meaning: 'Each line of stdin is JSON: {"event"?, "data", "retry"?}.' },
    ...CLIENT_FLAGS
  },
  async run (call, terminal) {
    const { topic, data } = operands(call)
    const post = createPost(call, topic, terminal)
    if (data !== undefined) await post([named(call, { data })])
    else await publishLines(call, terminal.stdin, post)
  }
}

function operands ({ others, switches }: Call): { topic: string, data: string | undefined } {
  const [topic, data, ...more] = others
  if (topic === undefined) throw new UsageError('publish needs a topic')
  if (more.length > 0) throw new UsageError('publish takes one DATA: put quotes around data with blanks')
  if (data !== undefined && switches.has('ndjson')) throw new UsageError('--ndjson is about stdin: leave DATA out')
  return { topic, data }
}

type Post = (events: readonly PublishEvent[]) => Promise<void>

/** What is there goes out together; what comes later does not hold it up. */
async function publishLines (call: Call, stdin: Readable, post: Post): Promise<void> {
  let count = 0
  for await (const lines of linesOf(stdin)) {
    const events = call.switches.has('ndjson') ? lines.flatMap((line, at) => parseLine(call, line, count + at + 1)) : lines.map(data => named(call, { data }))
    count += lines.length
    for (let at = 0; at < events.length; at += MAX_BATCH_EVENTS) await post(events.slice(at, at + MAX_BATCH_EVENTS))
  }
}

/** The whole lines of each chunk, without their ends; what follows the last end is a line too. */
async function * linesOf (stdin: Readable): AsyncGenerator<string[]> {
  let rest = ''
  for await (const chunk of stdin.setEncoding('utf8') as AsyncIterable<string>) {
    const lines = (rest + chunk).split(/\r?\n/)
    rest = lines.pop()!
    yield lines
  }
  if (rest !== '') yield [rest]
}

function parseLine (call: Call, line: string, number: number): PublishEvent[] {
  if (line.trim() === '') return []
  try {
    return [named(call, JSON.parse(line) as PublishEvent)]
  } catch (error) {
    throw new CommandError(`line ${number} is not JSON: ${(error as Error).message}`)
  }
}

function named ({ values }: Call, event: PublishEvent): PublishEvent {
  const name = values.get('event')
  return name === undefined ? event : { event: name, ...event }
}

/** Sends a batch until it is acknowledged or refused; the key keeps a repeat from standing in the log twice. */
function createPost (call: Call, topic: string, { stdout, stderr }: Terminal): Post {
  const { urlOf, headers } = serviceOf(call)
  const url = urlOf(`/topics/${encodeURIComponent(topic)}/events`)
  return async events => {
    const init = { method: 'POST', body: JSON.stringify(events), headers: { ...headers, 'content-type': 'application/json', 'idempotency-key': randomUUID() } }
    let answer = await send(url, init)
    for (const ms of PAUSES_MS) {
      if (answer instanceof Response && answer.status < 500) break
      stderr.write(`resumable-sse: ${await describe(answer, url)}; trying again in ${ms} ms\n`)
      await pause(ms)
      answer = await send(url, init)
    }
    if (!(answer instanceof Response) || answer.status !== 201) throw new CommandError(await describe(answer, url))
    const { ids } = await answer.json() as { ids: string[] }
    stdout.write(ids.map(id => `${id}\n`).join(''))
  }
}

/** An answer, or why there is none. */
async function send (url: string, init: RequestInit): Promise<Response | Error> {
  return fetch(url, init).catch((error: Error) => error)
}

async function describe (answer: Response | Error, url: string): Promise<string> {
  if (answer instanceof Response) return describeRefusal(answer)
  return `${new URL(url).origin} cannot be reached: ${(answer.cause as Error).message}`
}
