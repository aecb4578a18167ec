import t from 'tap'
import { Listener, openBrowser } from '../support/browser/browser.ts'
import { open } from '../support/clients/client.ts'
import { until } from '../support/until.ts'
import { metricsOf } from '../support/service/metrics.ts'
import { TestService } from '../support/service/service-app.ts'

const browser = await openBrowser(t)

// A status other than 200 would end it permanently: a full service would lose its clients.
t.test('an EventSource that finds the service full retries until there is room', async t => {
  const service = await TestService.start(t, { MAX_STREAMS: '1' })
  const first = await open(t, `${service.origin}/events?topic=news`)
  await first.inbox.until('stream.open')
  const waiting = Listener.open(t, browser, service, '/events?topic=news', '/healthz')
  await until(async () =>
    ((await metricsOf(service.origin)).get('sse_streams_refused_total{code="SERVICE_TOO_MANY_STREAMS"}') ?? 0) >= 2)
  first.close()
  const listener = await waiting
  await service.publish('news', { data: 'there is room' })
  await listener.untilMessages(1)
  t.same(await listener.messages(), ['there is room'])
  t.notOk((await listener.states()).includes('error 2'), 'it never gave up')
})
