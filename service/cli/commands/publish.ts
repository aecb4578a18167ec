import { randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { CLIENT_FLAGS, CommandError, serviceOf, UsageError } from '../command.ts'
import type { Call, Command, Terminal } from '../command.ts'
import { printable } from '../printable.ts'
import { request, RequestError } from '../request.ts'
import type { Answer } from '../request.ts'
import { Away, DEFAULT_WAIT, describe, isTemporary, waitOf } from '../retry.ts'
import { eventReader, greetTyping } from './input.ts'
import type { InputEvent } from './input.ts'
import { linesOf } from './lines.ts'
import { checkLive, LIVE_FLAGS, publishLive } from './live.ts'

/** Maximum number of events of one publish. */
const MAX_BATCH_EVENTS = 1_000

/** A try without a response within this time has failed. */
const TRY_TIMEOUT_MS = 60_000

/** `resumable-sse publish TOPIC [DATA]`. Prints the id of each event; with `--live`, what is said of it there. */
export const publish: Command = {
  usage: 'TOPIC [DATA]',
  summary: 'Publish DATA, or each line of stdin as it arrives, and print the ids.',
  flags: {
    event: { value: 'NAME', meaning: 'Name of the events.' },
    ndjson: { value: undefined, meaning: 'Each line of stdin is JSON: {"event"?, "data", "retry"?}.' },
    sse: { value: undefined, meaning: 'stdin is the event stream of another server, such as the output of curl -N.' },
    wait: {
      value: 'DURATION',
      meaning: `How long to wait while the service is unavailable: 0, 30s, 10m, 2h or 1d; default ${DEFAULT_WAIT}.`
    },
    ...LIVE_FLAGS,
    ...CLIENT_FLAGS
  },
  async run (call, terminal) {
    const { topic, data } = operands(call)
    if (call.switches.has('live')) return await publishLive(call, topic, terminal)
    const publisher = new Publisher(call, topic, terminal)
    if (data !== undefined) await publisher.publish([JSON.stringify({ event: call.values.get('event'), data })])
    else await publishLines(call, terminal, publisher)
  }
}

/** The switches that are about stdin. */
const READS_STDIN = ['live', 'ndjson', 'sse']

function operands (call: Call): { topic: string, data: string | undefined } {
  const { others, switches } = call
  const [topic, data, ...more] = others
  if (topic === undefined) throw new UsageError('publish needs a topic')
  if (more.length > 0) throw new UsageError('publish accepts one DATA argument: quote data that contains spaces')
  const read = READS_STDIN.find(name => switches.has(name))
  if (data !== undefined && read !== undefined) throw new UsageError(`--${read} reads stdin: omit DATA`)
  if (switches.has('ndjson') && switches.has('sse')) throw new UsageError('--ndjson and --sse cannot be combined')
  checkLive(call)
  return { topic, data }
}

/** Lines that arrive together are one batch. Further lines wait in stdin until it is published. */
async function publishLines (call: Call, { stdin, stderr }: Terminal, publisher: Publisher): Promise<void> {
  const toEvent = eventReader(call)
  greetTyping(stdin, stderr)
  for await (const lines of linesOf(stdin)) {
    // All lines first: if one is not an event, none of the lines that arrived with it is published.
    const events = lines.flatMap(toEvent)
    for (let at = 0; at < events.length; at += MAX_BATCH_EVENTS) {
      const batch = events.slice(at, at + MAX_BATCH_EVENTS)
      await publisher.publish(batch.map(({ json }) => json), nameOf(batch[0]!, batch.at(-1)!))
    }
  }
}

function nameOf (first: InputEvent, last: InputEvent): string {
  return first.number === last.number ? `line ${first.number}: ` : `lines ${first.number} to ${last.number}: `
}

/** Publishes batches one after the other, each exactly once. */
class Publisher {
  readonly #url: string
  readonly #headers: Record<string, string>
  readonly #waitMs: number
  readonly #terminal: Terminal

  constructor (call: Call, topic: string, terminal: Terminal) {
    const { urlOf, headers } = serviceOf(call)
    this.#url = urlOf(`/topics/${encodeURIComponent(topic)}/events`)
    this.#headers = { ...headers, 'content-type': 'application/x-ndjson' }
    this.#waitMs = waitOf(call)
    this.#terminal = terminal
  }

  /**
   * Publishes events, each as one line of JSON, and prints their ids. All tries use the same idempotency key, so that
   * no event is in the log twice. `name` identifies the events in an error. Rejects with a `CommandError`.
   */
  async publish (events: readonly string[], name = ''): Promise<void> {
    const { stdout, stderr } = this.#terminal
    const init = {
      method: 'POST',
      body: events.join('\n'),
      headers: { ...this.#headers, 'idempotency-key': randomUUID() }
    }
    const isAway = new Away(this.#waitMs)
    for (;;) {
      const answer = await request(this.#url, { ...init, signal: AbortSignal.timeout(TRY_TIMEOUT_MS) }).catch(
        (error: RequestError) => error
      )
      if (isAcknowledged(answer)) {
        if (isAway.hasBegun) stderr.write('resumable-sse: the service is available again, publishing continues\n')
        stdout.write(idsIn(answer).map(id => `${printable(id)}\n`).join(''))
        return
      }
      const isFirst = !isAway.hasBegun
      const pauseMs = isAway.next(answer)
      if (pauseMs === undefined) {
        throw new CommandError(`${name}${describe(answer)}${isTemporary(answer) ? isAway.outcome : ''}`)
      }
      if (isFirst) stderr.write(`resumable-sse: ${describe(answer)}; waiting up to ${this.#waitMs / 1_000} s\n`)
      await pause(pauseMs)
    }
  }
}

function isAcknowledged (answer: Answer | RequestError): answer is Answer {
  return !(answer instanceof RequestError) && answer.status === 201
}

/** The ids of the events; throws for an answer that is not one of the service. */
function idsIn ({ text }: Answer): string[] {
  try {
    return (JSON.parse(text) as { ids: unknown[] }).ids.map(String)
  } catch {
    throw new CommandError('published, but the answer has no ids: is this resumable-sse?')
  }
}
