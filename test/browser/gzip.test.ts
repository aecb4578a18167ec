import type { ServerResponse } from 'node:http'
import t from 'tap'
import { Listener, openBrowser, startSite } from '../support/browser/browser.ts'

t.test('EventSource of Chromium fires each event of a compressed stream as it arrives, whatever its size', async t => {
  const browser = await openBrowser(t)
  const site = await startSite(t)
  const responses: ServerResponse[] = []
  site.app.server.on('request', (_request, response: ServerResponse) => { responses.push(response) })
  const listener = await Listener.open(t, browser, site, '/events?topic=news')
  const sent: string[] = []
  for (const size of [1, 100, 300, 5_000, 100_000, 10]) {
    sent.push(`${size}:`.padEnd(size, 'x'))
    await site.app.topics.publish('news', { data: sent.at(-1)! })
    await listener.untilMessages(sent.length)
  }
  t.same(await listener.messages(), sent)
  t.equal(responses.at(-1)!.getHeader('content-encoding'), 'gzip')
})
