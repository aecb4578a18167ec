import { setTimeout as pause } from 'node:timers/promises'
import { EventSource } from 'eventsource'
import { createParser } from 'eventsource-parser'
import t from 'tap'
import type { Test } from 'tap'
import { Listener, openBrowser, openPage, startSite } from '../support/browser/browser.ts'
import type { Heard } from '../support/browser/browser.ts'
import { run } from '../support/processes/commands.ts'
import { TestService } from '../support/service/service-app.ts'

// Clients of other projects, with no code of ours on their side: all of them must read the same from one stream, even
// across a dropped connection.

const browser = await openBrowser(t)

/** Returns everything received so far under an application event name. */
type Heads = () => Promise<Heard[]> | Heard[]

const NAMES = ['message', 'tick']
const isOfApplication = ({ event }: Heard): boolean => NAMES.includes(event)

async function listenInChromium (t: Test, url: string, origin: string): Promise<Heads> {
  const listener = await Listener.open(t, browser, { origin }, url)
  return () => listener.heard(...NAMES)
}

function listenWithEventSource (t: Test, url: string): Heads {
  const heard: Heard[] = []
  const source = new EventSource(url)
  t.teardown(() => source.close())
  for (const event of NAMES) {
    source.addEventListener(
      event,
      ({ data, lastEventId }) => heard.push({ event, id: lastEventId, data: String(data) })
    )
  }
  return () => heard
}

/** curl does not parse events: it is started again with the last id it printed, as in a shell script. */
function listenWithCurl (t: Test, url: string): Heads {
  const heard: Heard[] = []
  const start = (lastId: string): void => {
    const parser = createParser({
      onEvent: ({ event = 'message', id = '', data }) => {
        lastId = id || lastId
        heard.push({ event, id: lastId, data })
      }
    })
    const curl = run(t, 'curl', ['-sN', url, ...lastId === '' ? [] : ['-H', `Last-Event-ID: ${lastId}`]])
    let read = 0
    const feed = (): boolean => {
      parser.feed(curl.out.slice(read))
      read = curl.out.length
      return false
    }
    curl.until(feed).catch(async () => {
      // It ended because of the connection, or because the test is over.
      if (typeof await curl.exit() === 'number') start(lastId)
    })
  }
  start('')
  return () => heard.filter(isOfApplication)
}

function listenWithPython (t: Test, url: string): Heads {
  const python = run(t, 'python3', ['test/support/network/listen.py', url])
  return () => {
    if (python.err !== '') throw new Error(python.err)
    return python.out.split('\n').slice(0, -1).map(line => JSON.parse(line) as Heard).filter(isOfApplication)
  }
}

const BEFORE = [
  { data: 'come back soon', retry: 50 }, { event: 'tick', data: { n: 1 } }, { data: 'two\nlines' }, {
    data: 'three\r\nof\rthem'
  }, { data: '' }, { data: ' \t blanks ' },
  { data: 'ü · 二 · 🙂 · \u2028\u2029\u0085\u000b\u000c' }, { data: 'id: 5' }, {
    data: ':comment'
  }, { data: 'event: x' }, { data: '\n' }, { data: '\n\n' }, { data: null }, { data: 'x'.repeat(100_000) }
]
const AFTER = [
  { data: 'after the cut' }, { event: 'tick', data: { n: 2 } }, { data: '\ufeffnot a mark' }, { data: 'last' }
]

t.test('Chromium, eventsource, Python and curl read the same events from a stream, cut or whole', async t => {
  const site = await startSite(t)
  const service = await TestService.start(t, { CORS_ORIGINS: site.origin })
  const url = `${service.origin}/events?topic=news&topic=other&last=100`
  await service.publish('news', BEFORE.slice(0, 3))
  const clients: Record<string, Heads> = {
    chromium: await listenInChromium(t, url, site.origin),
    eventsource: listenWithEventSource(t, url),
    python: listenWithPython(t, url),
    curl: listenWithCurl(t, url)
  }
  /** Polls, as Chromium's own waiting does: these clients have no common way to wait. */
  const untilAll = async (count: number): Promise<void> => {
    for (const heads of Object.values(clients)) while ((await heads()).length < count) await pause(20)
  }
  await untilAll(3)
  await service.publish('news', BEFORE.slice(3))
  await untilAll(BEFORE.length)
  service.app.server.closeAllConnections()
  // Between topics there is no order for clients that reconnect; if only one topic has events at a time, there is.
  for (const event of AFTER.slice(0, -1)) await service.publish('news', event)
  await untilAll(BEFORE.length + AFTER.length - 1)
  await service.publish('other', AFTER.slice(-1))
  await untilAll(BEFORE.length + AFTER.length)

  const { chromium, ...others } = clients
  const expected = await chromium!()
  t.same(expected.map(({ data }) => data), [...BEFORE, ...AFTER].map(
    ({ data }) => typeof data === 'string' ? data.replace(/\r\n|\r/g, '\n') : JSON.stringify(data)
  ))
  t.equal(new Set(expected.map(({ id }) => id)).size, expected.length, 'each has its own cursor')
  for (const [name, heads] of Object.entries(others)) t.same(await heads(), expected, name)
})

t.test('a page of an allowed origin publishes with cookies and can read error responses; a page of another origin can do neither', async t => {
  const site = await startSite(t)
  const service = await TestService.start(t, { CORS_ORIGINS: site.origin })
  const call = `(async (key, body) => {
    const response = await fetch('${service.origin}/topics/news/events', { method: 'POST', credentials: 'include', headers: { 'content-type': 'application/json', 'idempotency-key': key }, body })
    return { status: response.status, replayed: response.headers.get('idempotency-replayed'), body: await response.json() }
  })`
  const page = await openPage(t, browser)
  await page.goto(`${site.origin}/page`)
  t.match(await page.evaluate(`${call}('k', '{"data":1}')`), { status: 201, replayed: null, body: { id: /-1$/ } })
  t.match(await page.evaluate(`${call}('k', '{"data":1}')`), { status: 201, replayed: 'true', body: { id: /-1$/ } })
  t.match(await page.evaluate(`${call}('l', '{"data":1,"event":"error"}')`), {
    status: 400, body: { code: 'TOPICS_BAD_EVENT' }
  })
  const stranger = await startSite(t)
  await page.goto(`${stranger.origin}/page`)
  await t.rejects(page.evaluate(`${call}('m', '{"data":2}')`), /Failed to fetch/)
  t.match(await service.counts('news'), [{ count: 1 }], 'the preflight prevented the request')
})
