import cors from '@fastify/cors'
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import type { BrowserContext, Page } from 'playwright-core'
import type { Test } from 'tap'
import sse from '../../../plugin/index.ts'
import { auth, MemoryTokenStore } from '../../../plugin/auth/index.ts'
import type { OneTimeTokenOptions } from '../../../plugin/auth/index.ts'
import topics, { MemoryLog } from '../../../plugin/topics/index.ts'
import { openPage } from './browser.ts'
import { makeCertificate } from '../network/http2-client.ts'
import { stablePort } from '../network/ports.ts'
import { bearer, SECRET, sign } from '../auth/tokens.ts'

/** Host names of this machine for the browser: two sites, and a neighbour on the first one's domain. */
export const HOSTS = ['app.test', 'www.app.test', 'events.test']
export const TOKEN_FLAGS = [
  '--ignore-certificate-errors', `--host-resolver-rules=${HOSTS.map(host => `MAP ${host} 127.0.0.1`).join(', ')}`
]

export interface TokenSite { app: FastifyInstance, port: number }

/** A page and its streams over https, under every name; pages of `app.test` and `www.app.test` may use tokens. */
export async function startTokenSite (t: Test, oneTimeToken: Partial<OneTimeTokenOptions> = {}): Promise<TokenSite> {
  const port = await stablePort()
  const origins = ['app.test', 'www.app.test'].map(host => `https://${host}:${port}`)
  const app = Fastify({ https: makeCertificate(), return503OnClosing: false }) as unknown as FastifyInstance
  t.teardown(() => app.close())
  await app.register(cors, { origin: origins, credentials: true })
  await app.register(sse, { retryMs: 50, drainMs: 500 })
  await app.register(topics, { log: new MemoryLog() })
  // Without a grace period, so that only the cookie can resume.
  await app.register(auth, {
    jwt: { secret: SECRET }, origins, oneTimeToken: { store: new MemoryTokenStore(), graceMs: 0, ...oneTimeToken }
  })
  app.get<{ Querystring: { lastEventId?: string } }>(
    '/events',
    { grant: true },
    (request, reply) => reply.sse(app.topics.subscribe('news', { after: request.query.lastEventId }))
  )
  app.get('/page', (request, reply) => reply.type('text/html').send('<!doctype html><title>test</title>'))
  await app.listen({ host: '127.0.0.1', port })
  return { app, port }
}

/** Acts as an app's page would: it gets a token, opens a stream, and gets a new token when EventSource has given up. */
const SCRIPT = `
const heard = [], states = [], sessions = []
let source, last
async function listen (origin, authorization) {
  const body = JSON.stringify({ topics: ['news'] })
  const answer = await fetch(origin + '/events/auth', { method: 'POST', headers: { authorization, 'content-type': 'application/json' }, body })
  const { token, session } = await answer.json()
  sessions.push(session)
  source = new EventSource(origin + '/events?ot=' + token + (last ? '&lastEventId=' + last : ''), { withCredentials: true })
  source.onopen = () => states.push('open')
  source.onmessage = ({ data, lastEventId }) => { last = lastEventId; heard.push(data) }
  source.addEventListener('stream.open', event => { last = event.lastEventId })
  source.addEventListener('stream.gap', () => heard.push('gap'))
  source.onerror = () => {
    states.push('error ' + source.readyState)
    if (source.readyState === EventSource.CLOSED) listen(origin, authorization)
  }
}`

/** A page of one host with a stream from another. */
export class TokenPage {
  readonly page: Page

  constructor (page: Page) {
    this.page = page
  }

  /** Settles when its stream is open. */
  static async open (
    t: Test,
    context: BrowserContext,
    { port }: TokenSite,
    pageHost: string,
    streamHost: string
  ): Promise<TokenPage> {
    const page = await openPage(t, context)
    await page.goto(`https://${pageHost}:${port}/page`)
    await page.addScriptTag({ content: SCRIPT })
    const { authorization } = bearer(await sign())
    await page.evaluate(`listen('https://${streamHost}:${port}', '${authorization}')`)
    const opened = new TokenPage(page)
    await opened.until('last !== undefined')
    return opened
  }

  /** Waits until an expression over `heard`, `states` and `sessions` is true. */
  async until (expression: string): Promise<void> {
    await this.page.waitForFunction(expression, undefined, { polling: 20 })
  }

  async heard (): Promise<string[]> { return await this.page.evaluate('heard') as string[] }
  async states (): Promise<string[]> { return await this.page.evaluate('states') as string[] }
  async sessions (): Promise<string[]> { return await this.page.evaluate('sessions') as string[] }
}
