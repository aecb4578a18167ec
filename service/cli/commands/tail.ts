import { once } from 'node:events'
import { fetchTransport, subscribe } from 'fastify-resumable-sse/client'
import type { StreamItem, Subscription, SubscriptionError } from 'fastify-resumable-sse/client'
import { CLIENT_FLAGS, CommandError, serviceOf, UsageError } from '../command.ts'
import type { Call, Command, Terminal } from '../command.ts'
import { printable } from '../printable.ts'
import { describeAnswer, readAnswer, RequestError } from '../request.ts'

/** Somebody waits in front of the terminal: the service is tried again at least this often. */
const MAX_WAIT_MS = 10_000
const OK = 200
const FINISHED = 204

/** `resumable-sse tail TOPIC…`. Prints each event; reconnects by itself, and continues after the last one. */
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
    await new Tail(call, terminal).run()
  }
}

/** One subscription of the library's client, which reconnects; this prints what it delivers and says how it is. */
class Tail {
  readonly #subscription: Subscription
  readonly #url: string
  readonly #isJson: boolean
  readonly #terminal: Terminal
  readonly #topics: readonly string[]
  /** What the service answered last, when that was no stream. */
  #answer: string | undefined
  /** Why another try would not help, where the client cannot know. */
  #failure: CommandError | undefined

  constructor (call: Call, terminal: Terminal) {
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

  /** Settles when all topics are finished or the command is to end; rejects when another try would not help. */
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

  /** Notes the code of an error response, and ends the subscription where a request can never succeed. */
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

  /** In the words of the service, code included, where it has answered. */
  #describe ({ message, status }: { message: string, status?: number | undefined }): string {
    return status === undefined || this.#answer === undefined ? printable(message) : this.#answer
  }

  async #take (item: StreamItem): Promise<void> {
    if (item.kind === 'gap') {
      const { kind, ...gap } = item
      this.#tell(`stream.gap ${JSON.stringify(gap)}`)
    } else if (item.kind === 'end') {
      // Without a topic the service answered 204: each topic has been reported already.
      if (item.topic !== undefined) this.#tell(describeEnd(item.topic, item.reason))
    } else {
      await this.#print(item)
    }
  }

  /** Waits for whoever reads the output: the client reads no more of the stream meanwhile. */
  async #print (event: StreamItem & { kind: 'event' }): Promise<void> {
    const { stdout, signal } = this.#terminal
    const hasRoom = stdout.write(`${this.#isJson ? asJson(event) : this.#asLine(event)}\n`)
    if (!hasRoom) await once(stdout, 'drain', { signal }).catch(() => {})
  }

  /** One line, so that no publisher can forge another. With several topics each line has its topic. */
  #asLine ({ lastEventId, topic = UNKNOWN, event, data }: StreamItem & { kind: 'event' }): string {
    return [lastEventId, ...(this.#topics.length > 1 ? [topic] : []), event, data].map(printable).join(' ')
  }

  #tell (what: string): void {
    this.#terminal.stderr.write(`resumable-sse: ${printable(what)}\n`)
  }
}

/** The topic of an event of several, from a server that does not say it. */
const UNKNOWN = '?'

/** `JSON.stringify` leaves C1 controls as they are. */
function asJson ({ lastEventId, topic = UNKNOWN, event, data }: StreamItem & { kind: 'event' }): string {
  return printable(JSON.stringify({ id: lastEventId, topic, event, data }))
}

function describeEnd (topic: string, reason: string): string {
  return `topic ${topic} is finished${reason === 'closed' ? '' : ` (${reason})`}: these were all its events`
}

/** Sorted and without duplicates, as the service has them in its cursors. */
function topicsOf ({ others }: Call): string[] {
  const pattern = others.find(topic => topic.includes('*'))
  if (others.length === 0 || others.includes('')) throw new UsageError('tail needs a topic')
  if (pattern !== undefined) {
    const advice = 'name each one, as in tail build/1 build/2'
    throw new UsageError(`a topic is named in full, saw ${JSON.stringify(pattern)}: ${advice}`)
  }
  return [...new Set(others)].sort()
}

function queryOf ({ values }: Call): URLSearchParams {
  const query = new URLSearchParams()
  for (const [flag, parameter] of [['after', 'lastEventId'], ['last', 'last'], ['since', 'since']] as const) {
    const value = values.get(flag)
    if (value !== undefined) query.set(parameter, value)
  }
  return query
}
