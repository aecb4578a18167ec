import { once } from 'node:events'
import type * as Client from 'fastify-resumable-sse/client'
import type { StreamItem, Subscription, SubscriptionError } from 'fastify-resumable-sse/client'
import { CLIENT_FLAGS, CommandError, serviceOf, UsageError } from '../command.ts'
import type { Call, Command, Terminal } from '../command.ts'
import { parseDuration } from '../../config/duration.ts'
import { printable } from '../printable.ts'
import { describeAnswer, readAnswer, RequestError } from '../request.ts'

/** The longest pause between attempts: somebody is waiting in front of the terminal. */
const MAX_WAIT_MS = 10_000
/** Maximum of `--last`, as in the service. */
const MAX_LAST = 10_000
const OK = 200
const FINISHED = 204

/** `resumable-sse tail TOPIC…`. Prints each event; reconnects automatically, and continues after the last one. */
export const tail: Command = {
  usage: 'TOPIC…',
  summary: 'Print the events of topics, each once, over reconnects and restarts. Ends when all topics are finished.',
  flags: {
    after: { value: 'CURSOR', meaning: 'Begin after this id.' },
    last: { value: 'N', meaning: 'Begin with the last N events.' },
    since: { value: 'DURATION', meaning: 'Begin with what is younger than 30s, 10m, 2h or 1d.' },
    json: { value: undefined, meaning: 'A JSON object per line: {"id", "topic", "event", "data"}.' },
    ...CLIENT_FLAGS
  },
  async run (call, terminal) {
    await new Tail(call, terminal, await import('fastify-resumable-sse/client')).run()
  }
}

/** One subscription of the library's client, which reconnects; this class prints the events and reports the state. */
class Tail {
  readonly #subscription: Subscription
  readonly #url: string
  readonly #isJson: boolean
  readonly #terminal: Terminal
  readonly #topics: readonly string[]
  /** The description of the last error response. */
  #answer: string | undefined
  /** The reason why another attempt would not help, if the client cannot know it. */
  #failure: CommandError | undefined

  constructor (call: Call, terminal: Terminal, { fetchTransport, subscribe }: typeof Client) {
    const { urlOf, headers } = serviceOf(call)
    this.#topics = topicsOf(call)
    this.#url = urlOf(`/events?${queryOf(call)}`)
    this.#isJson = call.switches.has('json')
    this.#terminal = terminal
    this.#subscription = subscribe({
      url: this.#url,
      topics: this.#topics,
      headers,
      signal: terminal.signal,
      backoff: { maxMs: MAX_WAIT_MS },
      transport: fetchTransport((input, init) => this.#fetch(input, init))
    })
    this.#listen()
  }

  /** Settles when all topics have ended or the command should end; rejects if another attempt would not help. */
  async run (): Promise<void> {
    try {
      for await (const item of this.#subscription) await this.#take(item)
    } catch (error) {
      throw new CommandError(this.#describe(error as SubscriptionError))
    }
    if (this.#failure) throw this.#failure
  }

  #listen (): void {
    this.#subscription.addEventListener('open', () => this.#tell('listening'))
    this.#subscription.addEventListener('error', ({ detail }) => {
      if (detail.willRetry) this.#tell(this.#describe(detail))
    })
    this.#subscription.addEventListener('state', ({ detail: { state, retryInMs } }) => {
      if (state === 'waiting') this.#tell(`no stream, trying again in ${Math.round(retryInMs!)} ms`)
    })
  }

  /** Records the error code of a response, and ends the subscription if the request can never succeed. */
  async #fetch (input: string | URL | Request, init?: RequestInit): Promise<Response> {
    this.#answer = undefined
    let response: Response
    try {
      response = await fetch(input, init)
    } catch (error) {
      const failure = new RequestError(this.#url, error as Error)
      if (!failure.isTemporary && !init?.signal?.aborted) this.#fail(failure.message)
      throw failure
    }
    if (response.status !== OK && response.status !== FINISHED) {
      this.#answer = describeAnswer(await readAnswer(response.clone()))
    }
    return response
  }

  #fail (message: string): void {
    this.#failure = new CommandError(printable(message))
    this.#subscription.close()
  }

  /** In the service's own words, including the code, if there was a response. */
  #describe ({ message, status }: { message: string, status?: number | undefined }): string {
    if (status !== undefined && this.#answer !== undefined) return this.#answer
    return message === BROKEN ? 'the connection was lost' : printable(message)
  }

  async #take (item: StreamItem): Promise<void> {
    if (item.kind === 'gap') {
      const { kind, ...gap } = item
      this.#tell(`stream.gap ${JSON.stringify(gap)}`)
    } else if (item.kind === 'end') {
      // Without a topic the service responded with 204: each topic has been reported already.
      if (item.topic !== undefined) this.#tell(describeEnd(item.topic, item.reason))
    } else if (item.kind === 'event') {
      await this.#print(item)
    }
  }

  /** Waits until stdout accepts more; in the meantime the client does not read from the stream. */
  async #print (event: StreamItem & { kind: 'event' }): Promise<void> {
    const { stdout, signal } = this.#terminal
    const hasRoom = stdout.write(`${this.#isJson ? asJson(event) : this.#asLine(event)}\n`)
    if (!hasRoom) await once(stdout, 'drain', { signal }).catch(() => {})
  }

  /** One line per event, so that no publisher can forge another line. With several topics each line names its topic. */
  #asLine ({ lastEventId, topic = UNKNOWN, event, data }: StreamItem & { kind: 'event' }): string {
    return [lastEventId, ...(this.#topics.length > 1 ? [topic] : []), event, data].map(printable).join(' ')
  }

  #tell (what: string): void {
    this.#terminal.stderr.write(`resumable-sse: ${printable(what)}\n`)
  }
}

/** What fetch reports if a response breaks off. */
const BROKEN = 'terminated'

/** Shown if a server does not send the topics of events. */
const UNKNOWN = '?'

/** `JSON.stringify` does not escape C1 control characters. */
function asJson ({ lastEventId, topic = UNKNOWN, event, data }: StreamItem & { kind: 'event' }): string {
  return printable(JSON.stringify({ id: lastEventId, topic, event, data }))
}

function describeEnd (topic: string, reason: string): string {
  return `topic ${topic} is finished${reason === 'closed' ? '' : ` (${reason})`}: these were all its events`
}

/** Sorted and without duplicates, as in the service's cursors. */
function topicsOf ({ others }: Call): string[] {
  const pattern = others.find(topic => topic.includes('*'))
  if (others.length === 0 || others.includes('')) throw new UsageError('tail needs a topic')
  if (pattern !== undefined) {
    const advice = 'list each topic, as in tail build/1 build/2'
    throw new UsageError(`tail accepts no wildcards, saw ${JSON.stringify(pattern)}: ${advice}`)
  }
  return [...new Set(others)].sort()
}

/** Checked here too, because a service that cannot be reached would be tried again and again. */
function checkStart ({ values }: Call): void {
  const [last, since] = [values.get('last'), values.get('since')]
  if (last !== undefined && !(/^\d+$/.test(last) && Number(last) <= MAX_LAST)) {
    throw new UsageError(`--last must be a number of events, from 0 to ${MAX_LAST}, saw ${JSON.stringify(last)}`)
  }
  if (since !== undefined && !parseDuration(since)) {
    throw new UsageError(`--since must be a duration such as 30s, 10m, 2h or 1d, saw ${JSON.stringify(since)}`)
  }
  if (last !== undefined && since !== undefined) throw new UsageError('--last and --since cannot be combined')
}

function queryOf (call: Call): URLSearchParams {
  checkStart(call)
  const query = new URLSearchParams()
  for (const [flag, parameter] of [['after', 'lastEventId'], ['last', 'last'], ['since', 'since']] as const) {
    const value = call.values.get(flag)
    if (value !== undefined) query.set(parameter, value)
  }
  return query
}
