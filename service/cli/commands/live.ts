import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { hostname } from 'node:os'
import { PRODUCER_ID_PATTERN } from 'fastify-resumable-sse/topics'
import { CommandError, serviceOf, UsageError } from '../command.ts'
import type { Call, FlagHelp, Terminal } from '../command.ts'
import { LivePublisher } from '../live/live-publisher.ts'
import { ProducerClient } from '../live/producer-client.ts'
import { printable } from '../printable.ts'
import { waitOf } from '../retry.ts'
import { exitCodeOf } from '../signals.ts'
import { eventReader, greetTyping } from './input.ts'
import type { InputEvent } from './input.ts'
import { linesOf } from './lines.ts'

/** The flags of `publish` that concern `--live`. */
export const LIVE_FLAGS = {
  live: {
    value: undefined,
    meaning: 'Publish stdin as the one producer of the topic, and close it as done at the end; prints no ids.'
  },
  echo: { value: undefined, meaning: 'With --live: also write stdin to stdout.' },
  'take-over': { value: undefined, meaning: 'With --live: supersede another producer of the topic.' },
  'producer-id': {
    value: 'ID',
    meaning: 'With --live: continue the producer with this id. stdin starts over; what the topic has is skipped.'
  }
} satisfies Record<string, FlagHelp>

/** Limits of a lease, in ms. */
const MIN_LEASE_MS = 30_000
const MAX_LEASE_MS = 3_600_000
/** When the service becomes unavailable, up to a third of the lease has passed since it was renewed. */
const LEASE_PER_WAIT = 1.5

/** Throws a `UsageError` for flags that need `--live`, and for a bad id. */
export function checkLive ({ switches, values }: Call): void {
  const lonely = Object.keys(LIVE_FLAGS).find(name => switches.has(name) || values.has(name))
  if (lonely !== undefined && !switches.has('live')) throw new UsageError(`--${lonely} needs --live`)
  const id = values.get('producer-id')
  if (id !== undefined && !new RegExp(PRODUCER_ID_PATTERN).test(id)) {
    throw new UsageError(`--producer-id must be 1 to 100 characters of A-Z a-z 0-9 . _ ~ -, saw ${JSON.stringify(id)}`)
  }
}

/**
 * `resumable-sse publish --live TOPIC`. Settles when the topic is closed as done. If the command ends earlier for any
 * reason, the topic is closed as stopped, if possible, so that readers do not keep waiting.
 */
export async function publishLive (call: Call, topic: string, terminal: Terminal): Promise<void> {
  const { stdin, stderr } = terminal
  const tell = (text: string): void => { stderr.write(`resumable-sse: ${text}\n`) }
  const waitMs = waitOf(call)
  const client = clientOf(call, topic, waitMs)
  const publisher = new LivePublisher({ client, waitMs, tell })
  const stopping = terminal.catchSignals()
  greetTyping(stdin, stderr)
  const isDone = await publisher.publish(eventsOf(call, terminal), stopping).catch(async (error: unknown) => {
    await client.stop()
    throw error
  })
  const count = `${publisher.accepted} events`
  if (isDone) return tell(`topic ${printable(topic)} is done: ${count}`)
  const end = await client.stop() ? 'the topic is closed as stopped' : 'the topic stays open until its lease ends'
  const signal = stopping.reason as NodeJS.Signals
  throw new CommandError(`${signal}: ${end}, with ${count}`, exitCodeOf(signal))
}

function clientOf (call: Call, topic: string, waitMs: number): ProducerClient {
  return new ProducerClient({
    service: serviceOf(call),
    topic,
    producerId: call.values.get('producer-id') ?? newProducerId(),
    leaseMs: Math.min(Math.max(MIN_LEASE_MS, LEASE_PER_WAIT * waitMs), MAX_LEASE_MS),
    takeOver: call.switches.has('take-over')
  })
}

/** Readable, because the error for another producer that is rejected contains it. */
function newProducerId (): string {
  const host = hostname().replace(/[^A-Za-z0-9._~-]/g, '').slice(0, 60)
  return `${host}.${process.pid}.${randomUUID().slice(0, 8)}`
}

/** Yields the events that were read before an invalid line, then throws. */
async function * eventsOf (call: Call, { stdin, stdout }: Terminal): AsyncGenerator<InputEvent[], void> {
  const toEvent = eventReader(call)
  for await (const lines of linesOf(call.switches.has('echo') ? echoed(stdin, stdout) : stdin)) {
    const events: InputEvent[] = []
    let failure: unknown
    try {
      for (const line of lines) events.push(...toEvent(line))
    } catch (error) {
      failure = error
    }
    yield events
    if (failure !== undefined) throw failure
  }
}

/** Passes the bytes through unchanged, so that a terminal shows the same as without this command. */
async function * echoed (stdin: AsyncIterable<Buffer>, stdout: Terminal['stdout']): AsyncGenerator<Buffer, void> {
  for await (const chunk of stdin) {
    if (!stdout.write(chunk)) await once(stdout, 'drain')
    yield chunk
  }
}
