import type { ServerHttp2Session } from 'node:http2'
import t from 'tap'
import { buildService, readConfig } from '../../service/index.ts'
import { listen } from '../support/apps/app.ts'
import { openBrowser, openPage } from '../support/browser/browser.ts'
import { certificateFiles } from '../support/network/http2-client.ts'

const STREAMS = 200

// Over HTTP/1.1 a browser opens at most six connections to an origin: the seventh tab would receive nothing.
t.test(`Chromium holds ${STREAMS} EventSources over one HTTP/2 connection of the service, and each receives each event`, async t => {
  const { cert, key } = certificateFiles(t)
  const app = await buildService(readConfig({
    LOG: 'memory', LOG_LEVEL: 'silent', DRAIN_MS: '500', TLS_CERT: cert, TLS_KEY: key
  }))
  t.teardown(() => app.close())
  /** The number of streams on each connection. */
  const streams: number[] = []
  app.server.on('session', (session: ServerHttp2Session) => {
    const at = streams.push(0) - 1
    session.on('stream', (stream, { ':path': path }) => { if (path?.startsWith('/events')) streams[at]!++ })
  })
  const origin = await listen(app)
  const browser = await openBrowser(t)
  const page = await openPage(t, browser, { ignoreHTTPSErrors: true })
  await page.goto(`${origin.replace('http:', 'https:')}/healthz`)
  await page.evaluate(`
    globalThis.opened = new Set(), globalThis.heard = new Map()
    for (let at = 0; at < ${STREAMS}; at++) {
      const source = new EventSource('/events?topic=' + (at % 2 ? 'odd' : 'even'))
      source.addEventListener('stream.open', () => opened.add(at))
      source.onmessage = ({ data }) => heard.set(at, (heard.get(at) ?? '') + data)
    }`)
  await page.waitForFunction(`opened.size === ${STREAMS}`)
  for (const topic of ['odd', 'even']) {
    await app.topics.publish(topic, [{ data: `${topic} 1,` }, { data: `${topic} 2` }])
  }
  await page.waitForFunction(`heard.size === ${STREAMS} && [...heard.values()].every(data => data.endsWith('2'))`)
  const heard = await page.evaluate('[...heard]') as [number, string][]
  for (const [at, data] of heard) if (data !== (at % 2 ? 'odd 1,odd 2' : 'even 1,even 2')) t.fail(`${at} heard ${data}`)
  t.same(streams.filter(count => count > 0), [STREAMS], 'one connection, and each stream once')
})
