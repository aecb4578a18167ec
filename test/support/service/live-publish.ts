import { spawn } from 'node:child_process'
import type { ChildProcessWithoutNullStreams } from 'node:child_process'
import { PassThrough } from 'node:stream'
import type { Test } from 'tap'
import { serviceOf } from '../../../service/cli/command.ts'
import type { InputEvent } from '../../../service/cli/commands/input.ts'
import { LIVE_PUBLISH_LIMITS, LivePublisher } from '../../../service/cli/live/live-publisher.ts'
import type { LivePublishLimits } from '../../../service/cli/live/live-publisher.ts'
import { ProducerClient } from '../../../service/cli/live/producer-client.ts'
import { Inbox } from '../clients/inbox.ts'
import { ROOT } from '../documents/markdown.ts'
import { call } from './service-app.ts'

/** The built command, without the variables that tap sets for every Node process unless `env` has them: faster. */
export function spawnPublish (
  t: Test,
  origin: string,
  topic: string,
  env: NodeJS.ProcessEnv = {}
): ChildProcessWithoutNullStreams {
  const args = ['service/dist/cli.js', 'publish', '--live', topic, '--url', origin]
  const child = spawn(process.execPath, args, { stdio: 'pipe', cwd: ROOT, env })
  t.teardown(() => child.kill('SIGKILL'))
  return child
}

interface Page { events: { event?: string, data: string }[], cursor: string, isClosed: boolean }

/** All events of a topic of a service. */
export async function eventsOf (origin: string, topic: string): Promise<Page['events']> {
  const url = `${origin}/topics/${encodeURIComponent(topic)}/events?limit=1000`
  const events: Page['events'] = []
  for (let after = ''; ;) {
    const page = (await call(`${url}${after}`)).json as Page
    if (page.events.length === 0) return events
    events.push(...page.events)
    after = `&after=${page.cursor}`
  }
}

export const dataOf = async (origin: string, topic: string): Promise<string[]> =>
  (await eventsOf(origin, topic)).map(({ data }) => data)

/** The producer of a topic, as the service reports it; undefined while the service is unavailable. */
export async function producerOf (origin: string, topic: string): Promise<Record<string, unknown> | undefined> {
  const answer = await call(`${origin}/topics/${encodeURIComponent(topic)}/producer`).catch(() => undefined)
  return answer?.json as Record<string, unknown> | undefined
}

export interface PublisherOptions {
  waitMs?: number
  leaseMs?: number
  topic?: string
  limits?: Partial<LivePublishLimits>
  takeOver?: boolean
}

/** The publisher of `publish --live` with its own times, and lines to publish. */
export class LinePublisher {
  readonly told = new Inbox()
  readonly client: ProducerClient
  readonly publisher: LivePublisher
  readonly #stopping = new AbortController()
  readonly #lines = new PassThrough({ objectMode: true, highWaterMark: 1 })
  #count = 0
  /** As that of `LivePublisher.publish`. */
  readonly ended: Promise<boolean>

  constructor (
    t: Test,
    origin: string,
    { waitMs = 60_000, leaseMs = 30_000, topic = 'build', limits = {}, takeOver = false }: PublisherOptions = {}
  ) {
    const service = serviceOf({
      values: new Map([['url', origin]]), switches: new Set(), others: [], problems: [], env: {}
    })
    this.client = new ProducerClient({ service, topic, producerId: 'p', leaseMs, takeOver })
    const tell = (text: string): void => { this.told.add(Buffer.from(`${text}\n`)) }
    this.publisher = new LivePublisher({
      client: this.client, waitMs, tell, limits: { ...LIVE_PUBLISH_LIMITS, ...limits }
    })
    this.ended = this.publisher.publish(this.#lines as AsyncIterable<InputEvent[]>, this.#stopping.signal)
    this.ended.catch(() => {})
    t.teardown(() => this.stop())
  }

  /** Settles when there is room for the next line. */
  async write (...texts: string[]): Promise<void> {
    const batch = texts.map(text => ({ number: ++this.#count, json: JSON.stringify({ data: text }) }))
    if (!this.#lines.write(batch)) await new Promise(resolve => { this.#lines.once('drain', resolve) })
  }

  end (): void { this.#lines.end() }

  stop (): void { this.#stopping.abort('SIGINT') }
}
