import { EventEmitter, once } from 'node:events'
import t from 'tap'
import { MemoryLog } from '../../plugin/topics/index.ts'
import { Listener, openBrowser, openPage, startSite } from '../support/browser/browser.ts'
import { blocksOf } from '../support/documents/markdown.ts'

// The server's messages are sent inside the stream, because any status except 200 would end an EventSource permanently.

const browser = await openBrowser(t)

t.test('events dropped while the client was disconnected are reported as a gap, and the stream continues', async t => {
  const site = await startSite(t, { log: new MemoryLog({ retention: [{ topics: '*', maxEvents: 2 }] }) })
  const listener = await Listener.open(t, browser, site, '/events?topic=news')
  const { ids: [first] } = await site.app.topics.publish('news', { data: '1' })
  await listener.untilMessages(1)
  site.app.server.closeAllConnections()
  const { ids } = await site.app.topics.publish('news', ['2', '3', '4', '5'].map(data => ({ data })))
  await listener.untilMessages(3)
  t.same(await listener.messages(), ['1', '4', '5'])
  const [gap] = await listener.heard('stream.gap')
  t.same(JSON.parse(gap!.data), { topic: 'news', reason: 'trimmed', after: first, resumedAt: ids[2], missed: 2 })
})

t.test('an unreadable cursor is reported as a gap, and the stream continues', async t => {
  const site = await startSite(t)
  await site.app.topics.publish('news', { data: '1' })
  const listener = await Listener.open(t, browser, site, '/events?topic=news&lastEventId=%24')
  await listener.untilMessages(1)
  const [gap] = await listener.heard('stream.gap')
  t.match(JSON.parse(gap!.data), { topic: 'news', reason: 'unknown', after: null })
  t.same(await listener.states(), ['open'])
})

t.test('a server that lost its log reports it, and the client receives later events', async t => {
  let site = await startSite(t)
  const { port } = site
  const listener = await Listener.open(t, browser, site, '/events?topic=news')
  await site.app.topics.publish('news', { data: 'old' })
  await listener.untilMessages(1)
  await site.app.close()
  site = await startSite(t, { port })
  await listener.until("heard.some(({ event }) => event === 'stream.gap')")
  await site.app.topics.publish('news', { data: 'new' })
  await listener.untilMessages(2)
  const [gap] = await listener.heard('stream.gap')
  t.match(JSON.parse(gap!.data), { topic: 'news', reason: 'expired' })
  t.same(await listener.messages(), ['old', 'new'])
})

t.test('the end of a topic is reported, and 204 stops the client for good', async t => {
  const site = await startSite(t)
  const listener = await Listener.open(t, browser, site, '/events?topic=news')
  await site.app.topics.publish('news', { data: 'last' })
  await site.app.topics.close('news')
  await listener.until('source.readyState === 2')
  t.same(await listener.messages(), ['last'])
  t.same((await listener.heard('stream.end')).map(({ data }) => data), ['{"topic":"news","reason":"closed"}'])
  t.same(await listener.states(), ['open', 'error 0', 'error 2'])
  t.equal(site.connects(), 2)
})

t.test('the browser code in the guide receives events and gaps', async t => {
  const site = await startSite(t, { log: new MemoryLog({ retention: [{ topics: '*', maxEvents: 1 }] }) })
  const snippet = blocksOf('docs/guides/browser.md').find(({ language }) => language === 'js')!.text
  const page = await openPage(t, browser)
  const said: string[] = []
  const told = new EventEmitter()
  // Errors are Chromium's own messages about the cut connection.
  page.on('console', message => { if (message.type() !== 'error') told.emit('more', said.push(message.text())) })
  const untilSaid = async (count: number): Promise<void> => { while (said.length < count) await once(told, 'more') }
  await page.goto(`${site.origin}/page`)
  await page.addScriptTag({ content: snippet })
  await page.waitForFunction('events.readyState === 1')
  await site.app.topics.publish('news', { data: 'hello' })
  await untilSaid(1)
  site.app.server.closeAllConnections()
  await site.app.topics.publish('news', { data: 'nobody hears this' })
  await site.app.topics.publish('news', { event: 'score', data: { home: 1 } })
  await untilSaid(3)
  t.match(said[0], /^\S+,\S+-1 hello$/, 'a cursor over both topics, and the data')
  t.match(said[1], /^missed .*trimmed/)
  t.match(said[2], /^score .*home: 1/)
})
