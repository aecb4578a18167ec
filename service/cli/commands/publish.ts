import { randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { CLIENT_FLAGS, CommandError, serviceOf, UsageError } from '../command.ts'
import type { Call, Command, Terminal } from '../command.ts'
import { parseDuration } from '../../config/duration.ts'
import { describeAnswer, request, RequestError } from '../request.ts'
import type { Answer } from '../request.ts'
import { linesOf } from './lines.ts'
import type { Line } from './lines.ts'

/** Maximum number of events of one publish. */
const MAX_BATCH_EVENTS = 1_000

/** As long as a restart behind a proxy takes on a busy machine. */
const DEFAULT_WAIT = '60s'
/** Pauses between tries, in ms: the first one, then doubled up to the last one. */
const FIRST_PAUSE_MS = 200
const LAST_PAUSE_MS = 2_000
/** Applies to Retry-After as well. */
const MAX_PAUSE_MS = 60_000
/** A try without a response within this time has failed. */
const TRY_TIMEOUT_MS = 60_000

/** `resumable-sse publish TOPIC [DATA]`. Prints the id of each event. */
export const publish: Command = {
  usage: 'TOPIC [DATA]',
  summary: 'Publish DATA, or each line of stdin as it arrives, and print the ids.',
  flags: {
    event: { value: 'NAME', meaning: 'Name of the events.' },
    ndjson: { value: undefined, meaning: 'Each line of stdin is JSON: {"event"?, "data", "retry"?}.' },
    wait: {
      value: 'DURATION',
      meaning: `How long to wait while the service is unavailable: 0, 30s, 10m, 2h or 1d; default ${DEFAULT_WAIT}.`
    },
    ...CLIENT_FLAGS
  },
  async run (call, terminal) {
    const { topic, data } = operands(call)
    const publisher = new Publisher(call, topic, terminal)
    if (data !== undefined) await publisher.publish([JSON.stringify({ event: call.values.get('event'), data })])
    else await publishLines(call, terminal, publisher)
  }
}

function operands ({ others, switches }: Call): { topic: string, data: string | undefined } {
  const [topic, data, ...more] = others
  if (topic === undefined) throw new UsageError('publish needs a topic')
  if (more.length > 0) throw new UsageError('publish accepts one DATA argument: quote data that contains spaces')
  if (data !== undefined && switches.has('ndjson')) throw new UsageError('--ndjson reads stdin: omit DATA')
  return { topic, data }
}

/** Lines that arrive together are one batch. Further lines wait in stdin until it is published. */
async function publishLines (call: Call, { stdin, stderr }: Terminal, publisher: Publisher): Promise<void> {
  if ((stdin as { isTTY?: boolean }).isTTY) {
    stderr.write('resumable-sse: each line you type is published; press Ctrl-D to end\n')
  }
  const toEvent = call.switches.has('ndjson') ? eventOfJson : eventOfText
  for await (const lines of linesOf(stdin)) {
    const filled = call.switches.has('ndjson') ? lines.filter(({ text }) => text.trim() !== '') : lines
    // All lines first: if one is not an event, none of the lines that arrived with it is published.
    const events = filled.map(line => toEvent(line, call.values.get('event')))
    for (let at = 0; at < events.length; at += MAX_BATCH_EVENTS) {
      const end = Math.min(at + MAX_BATCH_EVENTS, events.length)
      await publisher.publish(events.slice(at, end), nameOf(filled[at]!, filled[end - 1]!))
    }
  }
}

function nameOf (first: Line, last: Line): string {
  return first.number === last.number ? `line ${first.number}: ` : `lines ${first.number} to ${last.number}: `
}

function eventOfText ({ text }: Line, event: string | undefined): string {
  return JSON.stringify({ event, data: text })
}

/** The line unchanged: the format of numbers and the order of keys are kept. A name is added if it has none. */
function eventOfJson ({ number, text }: Line, event: string | undefined): string {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new CommandError(`line ${number} is not JSON: ${(error as Error).message}`)
  }
  const isNamed = typeof value !== 'object' || value === null || Array.isArray(value) || Object.hasOwn(value, 'event')
  if (event === undefined || isNamed) return text
  const members = text.trim().slice(1)
  return `{"event":${JSON.stringify(event)}${Object.keys(value as object).length > 0 ? ',' : ''}${members}`
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
        const { ids } = JSON.parse(answer.text) as { ids: string[] }
        stdout.write(ids.map(id => `${id}\n`).join(''))
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

/** How long the service has been unavailable, and whether the events may have been published anyway. */
class Away {
  readonly #waitMs: number
  #since: number | undefined
  #pauseMs = FIRST_PAUSE_MS
  #mayBeDone = false

  constructor (waitMs: number) {
    this.#waitMs = waitMs
  }

  get hasBegun (): boolean { return this.#since !== undefined }

  /** After a failed try: how long to wait before the next one, in ms; undefined if there should be none. */
  next (answer: Answer | RequestError): number | undefined {
    if (!isTemporary(answer)) return undefined
    this.#mayBeDone ||= mayBeDone(answer)
    this.#since ??= performance.now()
    const leftMs = this.#since + this.#waitMs - performance.now()
    if (leftMs <= 0) return undefined
    const pauseMs = Math.max(this.#pauseMs, retryAfterMs(answer))
    this.#pauseMs = Math.min(2 * this.#pauseMs, LAST_PAUSE_MS)
    return Math.min(pauseMs, leftMs, MAX_PAUSE_MS)
  }

  /** Ends the message if the service did not come back. All other errors mean that nothing was published. */
  get outcome (): string {
    const outcome = this.#mayBeDone ? 'the events may have been published' : 'nothing was published'
    return `; gave up after ${this.#waitMs / 1_000} s: ${outcome}`
  }
}

function isAcknowledged (answer: Answer | RequestError): answer is Answer {
  return !(answer instanceof RequestError) && answer.status === 201
}

/** 408 and 429 invite another try; so does every 5xx, which a proxy returns while the service restarts. */
function isTemporary (answer: Answer | RequestError): boolean {
  return answer instanceof RequestError
    ? answer.isTemporary
    : answer.status >= 500 || answer.status === 429 || answer.status === 408
}

function mayBeDone (answer: Answer | RequestError): boolean {
  return answer instanceof RequestError ? answer.mayBeDone : answer.status >= 500
}

function retryAfterMs (answer: Answer | RequestError): number {
  const seconds = answer instanceof RequestError ? 0 : Number(answer.headers.get('retry-after') ?? 0)
  return Number.isFinite(seconds) ? 1_000 * seconds : 0
}

function describe (answer: Answer | RequestError): string {
  return answer instanceof RequestError ? answer.message : describeAnswer(answer)
}

function waitOf ({ values }: Call): number {
  const text = values.get('wait') ?? DEFAULT_WAIT
  const ms = text === '0' ? 0 : parseDuration(text)
  if (ms === undefined) {
    throw new UsageError(`--wait must be 0 or a duration such as 30s, 10m, 2h or 1d, saw ${JSON.stringify(text)}`)
  }
  return ms
}
