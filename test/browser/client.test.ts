import { setImmediate as nextTurn } from 'node:timers/promises'
import t from 'tap'
import type { Page } from 'playwright-core'
import type { Test } from 'tap'
import { openBrowser, openPage } from '../support/browser/browser.ts'
import { startClientSite } from '../support/browser/client-site.ts'
import { call } from '../support/service/service-app.ts'
import { ServiceProcess } from '../support/service/service-process.ts'
import { StubbornPublisher } from '../support/service/stubborn-publisher.ts'

// As in real browsers: Playwright disables the back/forward cache.
const browser = await openBrowser(t, [], ['--disable-back-forward-cache'])

interface Heard { topic: string, id: string, data: string }

const FAST = { backoff: { initialMs: 20, maxMs: 200 } }

/** Opens a page that is subscribed, and waits until its stream has started. */
async function listen (t: Test, site: string, options: object): Promise<Page> {
  const page = await openPage(t, browser)
  await page.goto(site)
  await page.waitForFunction('window.start')
  await page.evaluate(`window.subscription = start(${JSON.stringify({ ...FAST, ...options })})`)
  await until(page, "subscription.lastEventId !== ''")
  return page
}

async function until (page: Page, expression: string): Promise<void> {
  await page.waitForFunction(expression, undefined, { polling: 20 })
}

const heardBy = async (page: Page): Promise<Heard[]> => await page.evaluate('heard') as Heard[]

async function publish (origin: string, topic: string, data: string): Promise<void> {
  const { status } = await call(`${origin}/topics/${topic}/events`, { method: 'POST', body: data, type: 'text/plain' })
  if (status !== 201) throw new Error(`${status}`)
}

/** The number of open streams of the service. */
async function streams (origin: string): Promise<number> {
  const { text } = await call(`${origin}/metrics`)
  return Number(/^sse_streams_open(?:\{[^}]*\})? (\d+)$/m.exec(text)?.[1])
}

for (const native of [false, true]) {
  t.test(`${native ? 'native EventSource' : 'fetch'}: over kill -9 under load a page receives each event once and in order, with its topic`, async t => {
    const site = await startClientSite(t)
    const service = await ServiceProcess.start(t, { CORS_ORIGINS: site, RETRY_MS: '50' })
    const page = await listen(t, site, { url: `${service.origin}/events`, topics: ['a', 'b'], native })
    const publisher = new StubbornPublisher({
      name: 'p', topics: ['a', 'b'], origin: () => service.up.then(() => service.origin), onAcknowledged: () => {}
    })
    for (let kills = 1; kills <= 2; kills++) {
      const before = publisher.acknowledged.length
      await until(page, `heard.length > ${before + 20}`)
      await service.kill()
      await service.start()
    }
    await publisher.stop()
    for (const topic of ['a', 'b']) await publish(service.origin, topic, `${topic} end`)
    await until(page, "['a end', 'b end'].every(end => heard.some(({ data }) => data === end))")
    const heard = await heardBy(page)
    for (const topic of ['a', 'b']) {
      const published = publisher.acknowledged
        .filter(event => event.topic === topic)
        .map(({ id, data }) => ({ topic, id, data }))
      t.same(heard.filter(event => event.topic === topic).slice(0, -1), published)
    }
    t.same(await page.evaluate('gaps'), [])
  })
}

t.test('a page restored from the back/forward cache resumes where it was', async t => {
  const site = await startClientSite(t)
  const service = await ServiceProcess.start(t, { CORS_ORIGINS: site })
  const page = await listen(t, site, { url: `${service.origin}/events`, topics: ['a'] })
  await publish(service.origin, 'a', '1')
  await until(page, 'heard.length === 1')
  await page.evaluate("window.shown = []; addEventListener('pageshow', ({ persisted }) => shown.push(persisted))")
  await page.goto(`${service.origin}/healthz`)
  await publish(service.origin, 'a', '2')
  await page.goBack({ waitUntil: 'commit' })
  await until(page, 'heard.length === 2')
  t.same((await heardBy(page)).map(({ data }) => data), ['1', '2'])
  t.same(await page.evaluate('shown'), [true], 'it was in the cache')
})

t.test('a page that is offline for a while resumes when it is online', async t => {
  const site = await startClientSite(t)
  const service = await ServiceProcess.start(t, { CORS_ORIGINS: site })
  const page = await listen(t, site, {
    url: `${service.origin}/events`, topics: ['a'], backoff: { initialMs: 100_000_000, maxMs: 100_000_000 }
  })
  await publish(service.origin, 'a', '1')
  await until(page, 'heard.length === 1')
  await page.context().setOffline(true)
  await page.evaluate('subscription.reconnect()')
  await until(page, "subscription.state === 'waiting'")
  await publish(service.origin, 'a', '2')
  await page.context().setOffline(false)
  await until(page, 'heard.length === 2')
  t.same((await heardBy(page)).map(({ data }) => data), ['1', '2'])
})

t.test('a reload resumes from the stored cursor', async t => {
  const site = await startClientSite(t)
  const service = await ServiceProcess.start(t, { CORS_ORIGINS: site })
  const options = { url: `${service.origin}/events`, topics: ['a', 'b'], persist: 'feed', ...FAST }
  const page = await listen(t, site, options)
  await publish(service.origin, 'a', '1')
  await until(page, 'heard.length === 1')
  await page.goto('about:blank')
  await publish(service.origin, 'b', '2')
  await page.goto(site)
  await page.waitForFunction('window.start')
  await page.evaluate(`window.subscription = start(${JSON.stringify(options)})`)
  await until(page, 'heard.length === 1')
  t.match(await heardBy(page), [{ topic: 'b', data: '2' }])
})

t.test('a leading tab whose page stands still is replaced, and hears everything once and in order when it runs again', async t => {
  const site = await startClientSite(t)
  const service = await ServiceProcess.start(t, { CORS_ORIGINS: site, RETRY_MS: '50' })
  const context = await browser.newContext()
  t.teardown(() => context.close())
  const options = { ...FAST, url: `${service.origin}/events`, topics: ['a'], shareAcrossTabs: true, stallTimeoutMs: 500 }
  const tabs: Page[] = []
  for (let n = 0; n < 3; n++) {
    const page = await context.newPage()
    await page.goto(site)
    await page.waitForFunction('window.start')
    await page.evaluate(`window.subscription = start(${JSON.stringify(options)})`)
    await until(page, "subscription.lastEventId !== ''")
    tabs.push(page)
  }
  const [leader, ...others] = tabs
  await publish(service.origin, 'a', '1')
  for (const page of tabs) await until(page, 'heard.length === 1')
  // As in a suspended page, nothing runs and the lock stays held. (A browser only freezes pages that are hidden.)
  const devtools = await context.newCDPSession(leader!)
  await devtools.send('Debugger.enable')
  const paused = new Promise<void>(resolve => { devtools.once('Debugger.paused', () => resolve()) })
  await devtools.send('Debugger.pause')
  await paused
  await publish(service.origin, 'a', '2')
  for (const page of others) await until(page, 'heard.length === 2')
  await devtools.send('Debugger.resume')
  await publish(service.origin, 'a', '3')
  for (const page of tabs) {
    await until(page, "heard.at(-1).data === '3'")
    t.same((await heardBy(page)).map(({ data }) => data), ['1', '2', '3'])
    t.same(await page.evaluate('gaps'), [])
  }
  while (await streams(service.origin) !== 1) await nextTurn()
})

t.test('twelve tabs over HTTP/1.1 share one connection, each receives its topics, and none loses or repeats an event when tabs and the service are killed', async t => {
  const site = await startClientSite(t)
  const service = await ServiceProcess.start(t, { CORS_ORIGINS: site, RETRY_MS: '50' })
  const context = await browser.newContext()
  t.teardown(() => context.close())
  const open = async (topics: string[]): Promise<{ page: Page, topics: string[] }> => {
    const page = await context.newPage()
    page.setDefaultTimeout(120_000)
    await page.goto(site)
    await page.waitForFunction('window.start')
    await page.evaluate(
      `window.subscription = start(${JSON.stringify({ ...FAST, url: `${service.origin}/events`, topics, shareAcrossTabs: true })})`
    )
    await until(page, "subscription.lastEventId !== ''")
    return { page, topics }
  }
  const wanted = [['a'], ['b'], ['c'], ['a', 'b'], ['b', 'c'], ['a', 'c'], ['a', 'b', 'c'], [
    'a'
  ], ['b'], ['c'], ['c', 'a'], ['b', 'a']]
  const tabs: { page: Page, topics: string[] }[] = []
  for (const topics of wanted) tabs.push(await open(topics))
  t.equal(await streams(service.origin), 1)

  const publisher = new StubbornPublisher({
    name: 'p', topics: ['a', 'b', 'c'], origin: () => service.up.then(() => service.origin), onAcknowledged: () => {}
  })
  const progress = async (): Promise<void> => {
    const counts = await Promise.all(tabs.map(({ page }) => page.evaluate('heard.length') as Promise<number>))
    await Promise.all(tabs.map(({ page }, at) => until(page, `heard.length > ${counts[at]! + 5}`)))
  }
  await progress()
  // The first tab leads. It closes without running its handlers, as in a crash.
  await tabs.shift()!.page.close({ runBeforeUnload: false })
  await progress()
  await service.kill()
  await service.start()
  await progress()
  for (const index of [4, 0, 2]) await tabs.splice(index, 1)[0]!.page.close()
  await progress()
  await publisher.stop()
  for (const topic of ['a', 'b', 'c']) await publish(service.origin, topic, `${topic} end`)

  for (const { page, topics } of tabs) {
    await until(page, `${JSON.stringify(topics)}.every(topic => heard.some(({ data }) => data === topic + ' end'))`)
    const heard = await heardBy(page)
    t.same(heard.filter(({ topic }) => !topics.includes(topic)), [], 'only its topics')
    for (const topic of topics) {
      const published = publisher.acknowledged
        .filter(event => event.topic === topic)
        .map(({ id, data }) => ({ topic, id, data }))
      t.same(heard.filter(event => event.topic === topic).slice(0, -1), published, `${topics.join()}: ${topic}`)
    }
    t.same(await page.evaluate('gaps'), [])
  }
  t.equal(await streams(service.origin), 1)
})
