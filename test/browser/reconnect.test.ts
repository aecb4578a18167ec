import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { MemoryLog } from '../../plugin/topics/index.ts'
import { Listener, openBrowser, startSite } from '../support/browser/browser.ts'
import type { Site } from '../support/browser/browser.ts'

// A real EventSource in Chromium, with no code of ours on its side: its own behaviour must be sufficient.

const browser = await openBrowser(t)

const published = (topic: string, count: number): string[] =>
  Array.from({ length: count }, (_, at) => `${topic} ${at + 1}`)

/** Publishes 1, 2, 3… to each topic until stopped; the interval imitates an application and is not a wait. */
function keepPublishing (site: Site, topics: string[]): { stop: () => Promise<number> } {
  const stopping = new AbortController()
  const work = (async () => {
    let published = 0
    while (!stopping.signal.aborted) {
      published++
      for (const topic of topics) await site.app.topics.publish(topic, { data: `${topic} ${published}` })
      await pause(2)
    }
    return published
  })()
  return {
    stop () {
      stopping.abort()
      return work
    }
  }
}

async function untilConnects (listener: Listener, count: number): Promise<void> {
  await listener.until(`states.filter(state => state === 'open').length >= ${count}`)
}

t.test('Chromium receives events with their names, ids and lines', async t => {
  const site = await startSite(t)
  const listener = await Listener.open(t, browser, site, '/events?topic=news')
  const { ids } = await site.app.topics.publish('news', [
    { data: 'two\nlines' }, { event: 'tick', data: { n: 2 } }, { data: '' }
  ])
  await listener.untilMessages(2)
  t.same(await listener.heard('message', 'tick'), [
    { event: 'message', id: ids[0], data: 'two\nlines' },
    { event: 'tick', id: ids[1], data: '{"n":2}' },
    { event: 'message', id: ids[2], data: '' }
  ])
})

t.test('H25 after a cut before the first event the client resumes from where it first connected', async t => {
  const site = await startSite(t)
  const listener = await Listener.open(t, browser, site, '/events?topic=news')
  site.app.server.closeAllConnections()
  await site.app.topics.publish('news', { data: '1' })
  await listener.untilMessages(1)
  t.same(await listener.messages(), ['1'])
})

t.test('connections cut repeatedly while events are published: each event is received once, in order', async t => {
  const site = await startSite(t)
  const listener = await Listener.open(t, browser, site, '/events?topic=news')
  const publisher = keepPublishing(site, ['news'])
  for (let cuts = 1; cuts <= 5; cuts++) {
    site.app.server.closeAllConnections()
    await untilConnects(listener, cuts + 1)
  }
  const count = await publisher.stop()
  await listener.untilMessages(count)
  t.same(await listener.messages(), published('news', count))
  t.same(await listener.heard('stream.gap'), [])
  t.ok(site.connects() >= 6)
})

t.test('connections cut repeatedly with three topics on one connection: each topic is complete and in order', async t => {
  const site = await startSite(t)
  const topics = ['a', 'b', 'c']
  const listener = await Listener.open(t, browser, site, '/events?topic=a&topic=b&topic=c')
  const publisher = keepPublishing(site, topics)
  for (let cuts = 1; cuts <= 5; cuts++) {
    site.app.server.closeAllConnections()
    await untilConnects(listener, cuts + 1)
  }
  const count = await publisher.stop()
  await listener.untilMessages(count * topics.length)
  const heard = await listener.messages()
  for (const topic of topics) t.same(heard.filter(data => data.startsWith(topic)), published(topic, count))
  t.same(await listener.heard('stream.gap'), [])
})

t.test('a server that is shut down and restarted on its port loses no client and no event', async t => {
  const log = new MemoryLog()
  let site = await startSite(t, { log })
  const { port } = site
  const listener = await Listener.open(t, browser, site, '/events?topic=news')
  await site.app.topics.publish('news', { data: '1' })
  await listener.untilMessages(1)
  await site.app.close()
  await site.app.topics.publish('news', { data: '2' })
  site = await startSite(t, { log, port })
  await site.app.topics.publish('news', { data: '3' })
  await listener.untilMessages(3)
  t.same(await listener.messages(), ['1', '2', '3'])
  t.notOk((await listener.states()).includes('error 2'))
})
