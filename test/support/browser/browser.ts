import { existsSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import { chromium } from 'playwright-core'
import type { Browser, BrowserContextOptions, Page } from 'playwright-core'
import type { Test } from 'tap'
import sse from '../../../plugin/index.ts'
import type { SsePluginOptions } from '../../../plugin/index.ts'
import { eventsRoute } from '../../../service/routes/events-route.ts'
import { readConfig } from '../../../service/config/read-config.ts'
import { openapi } from '../../../service/http/schemas/openapi.ts'
import { StreamGate } from '../../../service/streams/stream-gate.ts'
import { StreamLimits } from '../../../service/streams/stream-limits.ts'
import topics, { MemoryLog } from '../../../plugin/topics/index.ts'
import type { TopicLog } from '../../../plugin/topics/index.ts'
import { stablePort } from '../network/ports.ts'

const CHROMIUM = ['/usr/bin/chromium', '/usr/bin/chromium-browser'].find(path => existsSync(path)) ?? 'chromium'
const FLAGS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--disable-background-networking', '--disable-component-update',
  '--disable-sync'
]

/** Time limit for anything a page is waited for: it happens immediately, but later on a busy machine. */
const TIMEOUT_MS = 120_000

/** An event that the page received: `id` is EventSource's lastEventId at that event. */
export interface Heard { event: string, id: string, data: string }

/**
 * Opens and closes an EventSource and records its events; `states` contains `open`, `error 0` (will reconnect) and
 * `error 2` (gave up).
 */
const SCRIPT = `
const heard = [], states = []
let source
function listen (url) {
  source = new EventSource(url)
  source.onopen = () => states.push('open')
  source.onerror = () => states.push('error ' + source.readyState)
  for (const event of ['message', 'tick', 'stream.open', 'stream.gap', 'stream.end', 'stream.error']) {
    source.addEventListener(event, ({ data, lastEventId }) => heard.push({ event, id: lastEventId, data }))
  }
}`

/**
 * A real Chromium with a new, empty profile; closed after the test. `withoutFlags` are flags that Playwright would add.
 */
export async function openBrowser (
  t: Test,
  flags: readonly string[] = [],
  withoutFlags: string[] = []
): Promise<Browser> {
  const browser = await chromium.launch({
    executablePath: CHROMIUM, args: [...FLAGS, ...flags], ignoreDefaultArgs: withoutFlags, timeout: TIMEOUT_MS
  })
  t.teardown(() => browser.close())
  return browser
}

/** A new page of a browser or context, closed after the test. */
export async function openPage (
  t: Test,
  opener: Pick<Browser, 'newPage'>,
  options: BrowserContextOptions = {}
): Promise<Page> {
  const page = await opener.newPage(options)
  page.setDefaultTimeout(TIMEOUT_MS)
  t.teardown(() => page.close())
  return page
}

/**
 * Waits until an expression is true in a page. Unlike waitForFunction() with a string it needs no eval() in the page,
 * which a strict Content-Security-Policy forbids.
 */
export async function untilTrue (page: Page, expression: string): Promise<void> {
  while (!await page.evaluate(expression).catch(ignoreNavigation)) await pause(20)
}

/** A page that reloads has no context for a moment, in which no expression is true. */
function ignoreNavigation (error: Error): void {
  if (!error.message.includes('Execution context was destroyed')) throw error
}

/** A server with the service's stream and an empty page on one origin. */
export interface Site { app: FastifyInstance, origin: string, port: number, log: TopicLog, connects: () => number }

/** Starts a site; with the same log and port it is the same site after a restart. Clients reconnect after 50 ms. */
export async function startSite (
  t: Test,
  { log = new MemoryLog(), port, options = {} }: { log?: TopicLog, port?: number, options?: SsePluginOptions } = {}
): Promise<Site> {
  const app = Fastify({ return503OnClosing: false })
  t.teardown(() => app.close())
  await app.register(sse, { retryMs: 50, drainMs: 500, ...options })
  await app.register(topics, { log })
  let connects = 0
  app.addHook('onRequest', async request => { if (request.url.startsWith('/events')) connects++ })
  await app.register(openapi, { config: readConfig({}) })
  const limits = new StreamLimits(app.sse.streams, {
    ...readConfig({}), maxStreams: 0, maxStreamsPerAddress: 0, maxStreamsPerSubject: 0
  })
  eventsRoute(app, new StreamGate({ limits, drain: { isDraining: false }, maxTopicsPerStream: 44 }))
  app.get('/page', (request, reply) => reply.type('text/html').send('<!doctype html><title>test</title>'))
  await app.listen({ host: '127.0.0.1', port: port ?? await stablePort() })
  const address = app.server.address() as AddressInfo
  return { app, origin: `http://127.0.0.1:${address.port}`, port: address.port, log, connects: () => connects }
}

/** A page of the site, and the events of its EventSource. */
export class Listener {
  readonly page: Page

  constructor (page: Page) {
    this.page = page
  }

  /** Opens a page of the origin, whatever its content, and starts an EventSource; settles when the stream is open. */
  static async open (
    t: Test,
    browser: Browser,
    { origin }: Pick<Site, 'origin'>,
    url: string,
    path = '/page'
  ): Promise<Listener> {
    const page = await openPage(t, browser)
    await page.goto(origin + path)
    await page.addScriptTag({ content: SCRIPT })
    const listener = new Listener(page)
    await page.evaluate(`listen(${JSON.stringify(url)})`)
    await listener.until("heard.some(({ event }) => event === 'stream.open')")
    return listener
  }

  /** Waits until an expression over `heard`, `states` and `source` is true in the page. */
  async until (expression: string): Promise<void> {
    await this.page.waitForFunction(expression, undefined, { polling: 20 })
  }

  /** All events received, or only those with these names. */
  async heard (...names: string[]): Promise<Heard[]> {
    const all = await this.page.evaluate('heard') as Heard[]
    return names.length === 0 ? all : all.filter(({ event }) => names.includes(event))
  }

  /** Data of unnamed events. */
  async messages (): Promise<string[]> {
    return (await this.heard('message')).map(({ data }) => data)
  }

  async states (): Promise<string[]> {
    return await this.page.evaluate('states') as string[]
  }

  /** Waits for this many unnamed events since the start. */
  async untilMessages (count: number): Promise<void> {
    await this.until(`heard.filter(({ event }) => event === 'message').length >= ${count}`)
  }
}
