import { setTimeout as pause } from 'node:timers/promises'
import { EventSourceParserStream } from 'eventsource-parser/stream'
import type { EventSourceMessage } from 'eventsource-parser/stream'
import { CLIENT_FLAGS, CommandError, serviceOf, UsageError } from '../command.ts'
import type { Call, Command, Terminal } from '../command.ts'
import { printable } from '../printable.ts'
import { describeAnswer, readAnswer, RequestError } from '../request.ts'
import { TopicOfCursor } from './topic-of-cursor.ts'

const DEFAULT_RETRY_MS = 3_000
const FINISHED = 204

/** `resumable-sse tail TOPIC…`. Prints each event; comes back by itself, as EventSource does, and goes on where it was. */
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

class Tail {
  readonly #url: string
  readonly #headers: Record<string, string>
  readonly #isJson: boolean
  readonly #terminal: Terminal
  readonly #topics: readonly string[]
  readonly #topicOf: TopicOfCursor
  /** Topics that were read to their end. */
  readonly #finished = new Set<string>()
  #cursor = ''
  #retryMs = DEFAULT_RETRY_MS

  constructor (call: Call, terminal: Terminal) {
    const { urlOf, headers } = serviceOf(call)
    this.#topics = topicsOf(call)
    this.#topicOf = new TopicOfCursor(this.#topics, call.values.get('after'))
    this.#url = urlOf(`/events?${queryOf(call, this.#topics)}`)
    this.#headers = headers
    this.#isJson = call.switches.has('json')
    this.#terminal = terminal
  }

  /** Settles when all topics are finished or the command is to end; rejects when another try would not help. */
  async run (): Promise<void> {
    const { signal } = this.#terminal
    while (!signal.aborted) {
      const response = await this.#connect()
      if (response?.status === FINISHED) return
      if (response !== undefined && isFinal(response)) throw new CommandError(describeAnswer(await readAnswer(response)))
      if (response !== undefined) await this.#read(response)
      if (this.#finished.size === this.#topics.length) return
      if (!signal.aborted) this.#tell(`no stream, trying again in ${this.#retryMs} ms`)
      await pause(this.#retryMs, undefined, { signal }).catch(() => {})
    }
  }

  /** An answer; undefined when there is none for now. Rejects with a `CommandError` when there never will be. */
  async #connect (): Promise<Response | undefined> {
    const { signal } = this.#terminal
    const headers = { ...this.#headers, accept: 'text/event-stream', ...(this.#cursor === '' ? {} : { 'last-event-id': this.#cursor }) }
    try {
      return await fetch(this.#url, { headers, signal })
    } catch (error) {
      if (signal.aborted) return undefined
      const failure = new RequestError(this.#url, error as Error)
      if (!failure.isTemporary) throw new CommandError(printable(failure.message))
      this.#tell(failure.message)
      return undefined
    }
  }

  /** Reads a stream to its end, whichever it is. */
  async #read (response: Response): Promise<void> {
    const parser = new EventSourceParserStream({ onRetry: ms => { this.#retryMs = ms } })
    try {
      if (response.status !== 200) return this.#tell(describeAnswer(await readAnswer(response)))
      for await (const event of response.body!.pipeThrough(new TextDecoderStream()).pipeThrough(parser)) this.#take(event)
    } catch {
      // The connection was lost: what was read is printed, and the cursor knows it.
    }
  }

  #take ({ id, event = 'message', data }: EventSourceMessage): void {
    if (id !== undefined) this.#cursor = id
    const topic = this.#topicOf.next(this.#cursor)
    if (event === 'stream.open') return this.#tell('listening')
    if (event === 'stream.end') return this.#finish(data)
    if (event.startsWith('stream.')) return this.#tell(`${event} ${data}`)
    this.#terminal.stdout.write(`${this.#isJson ? this.#json(topic, event, data) : this.#line(topic, event, data)}\n`)
  }

  /** On a line of its own, so that no publisher can forge one. With several topics each line says which one it is of. */
  #line (topic: string, event: string, data: string): string {
    return [this.#cursor, ...(this.#topics.length > 1 ? [topic] : []), event, data].map(printable).join(' ')
  }

  /** `JSON.stringify` leaves C1 controls as they are. */
  #json (topic: string, event: string, data: string): string {
    return printable(JSON.stringify({ id: this.#cursor, topic, event, data }))
  }

  #finish (data: string): void {
    const { topic, reason } = JSON.parse(data) as { topic: string, reason?: string }
    this.#finished.add(topic)
    this.#tell(`topic ${topic} is finished${reason === undefined ? '' : ` (${reason})`}: these were all its events`)
  }

  #tell (what: string): void {
    this.#terminal.stderr.write(`resumable-sse: ${printable(what)}\n`)
  }
}

/** 408 and 429 are said by a proxy in front of the service, for a while. */
function isFinal ({ status }: Response): boolean {
  return status >= 400 && status < 500 && status !== 408 && status !== 429
}

/** Sorted and without duplicates, as the service has them in its cursors. */
function topicsOf ({ others }: Call): string[] {
  const pattern = others.find(topic => topic.includes('*'))
  if (others.length === 0) throw new UsageError('tail needs a topic')
  if (pattern !== undefined) throw new UsageError(`a topic is named in full, saw ${JSON.stringify(pattern)}: name each one, as in tail build/1 build/2`)
  return [...new Set(others)].sort()
}

function queryOf ({ values }: Call, topics: readonly string[]): URLSearchParams {
  const query = new URLSearchParams()
  for (const topic of topics) query.append('topic', topic)
  for (const [flag, parameter] of [['after', 'lastEventId'], ['last', 'last'], ['since', 'since']] as const) {
    const value = values.get(flag)
    if (value !== undefined) query.set(parameter, value)
  }
  return query
}
