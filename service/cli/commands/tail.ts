import { setTimeout as pause } from 'node:timers/promises'
import { EventSourceParserStream } from 'eventsource-parser/stream'
import type { EventSourceMessage } from 'eventsource-parser/stream'
import { CLIENT_FLAGS, CommandError, serviceOf, UsageError } from '../command.ts'
import type { Call, Command, Terminal } from '../command.ts'
import { describeRefusal } from '../error-response.ts'

const DEFAULT_RETRY_MS = 3_000
const FINISHED = 204

/** `resumable-sse tail TOPIC…`. Prints each event; comes back by itself, as EventSource does, and goes on where it was. */
export const tail: Command = {
  usage: 'TOPIC…',
  summary: 'Print the events of topics, each once, over reconnects and restarts.',
  flags: {
    after: { value: 'CURSOR', meaning: 'Begin behind this id.' },
    last: { value: 'N', meaning: 'Begin with the last N events.' },
    since: { value: 'DURATION', meaning: 'Begin with what is younger than 30s, 10m, 2h or 1d.' },
    json: { value: undefined, meaning: 'A JSON object per line: {"id", "event", "data"}.' },
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
  #cursor = ''
  #retryMs = DEFAULT_RETRY_MS

  constructor (call: Call, terminal: Terminal) {
    const { urlOf, headers } = serviceOf(call)
    this.#url = urlOf(`/events?${queryOf(call)}`)
    this.#headers = headers
    this.#isJson = call.switches.has('json')
    this.#terminal = terminal
  }

  /** Settles when all topics are finished or the command is to end; rejects when the service refuses for good. */
  async run (): Promise<void> {
    const { signal } = this.#terminal
    while (!signal.aborted) {
      const response = await this.#connect()
      if (response?.status === FINISHED) return
      if (response !== undefined && response.status >= 400 && response.status < 500) throw new CommandError(await describeRefusal(response))
      if (response !== undefined) await this.#read(response)
      if (!signal.aborted) this.#tell(`no stream, trying again in ${this.#retryMs} ms`)
      await pause(this.#retryMs, undefined, { signal }).catch(() => {})
    }
  }

  /** An answer; undefined when there is none. */
  #connect (): Promise<Response | undefined> {
    const headers = { ...this.#headers, accept: 'text/event-stream', ...(this.#cursor === '' ? {} : { 'last-event-id': this.#cursor }) }
    return fetch(this.#url, { headers, signal: this.#terminal.signal }).catch(() => undefined)
  }

  /** Reads a stream to its end, whichever it is. */
  async #read (response: Response): Promise<void> {
    if (response.status !== 200) return this.#tell(await describeRefusal(response))
    const parser = new EventSourceParserStream({ onRetry: ms => { this.#retryMs = ms } })
    try {
      for await (const event of response.body!.pipeThrough(new TextDecoderStream()).pipeThrough(parser)) this.#take(event)
    } catch {
      // The connection was lost: what was read is printed, and the cursor knows it.
    }
  }

  #take ({ id, event = 'message', data }: EventSourceMessage): void {
    if (id !== undefined) this.#cursor = id
    if (event === 'stream.open') return this.#tell('listening')
    if (event.startsWith('stream.')) return this.#tell(`${event} ${data}`)
    const line = this.#isJson ? JSON.stringify({ id: this.#cursor, event, data }) : `${this.#cursor} ${event} ${data}`
    this.#terminal.stdout.write(`${line}\n`)
  }

  #tell (what: string): void {
    this.#terminal.stderr.write(`resumable-sse: ${what}\n`)
  }
}

function queryOf ({ others: topics, values }: Call): URLSearchParams {
  if (topics.length === 0) throw new UsageError('tail needs a topic')
  const query = new URLSearchParams()
  for (const topic of topics) query.append('topic', topic)
  for (const [flag, parameter] of [['after', 'lastEventId'], ['last', 'last'], ['since', 'since']] as const) {
    const value = values.get(flag)
    if (value !== undefined) query.set(parameter, value)
  }
  return query
}
