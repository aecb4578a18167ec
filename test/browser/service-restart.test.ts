import t from 'tap'
import { Listener, openBrowser } from '../support/browser/browser.ts'
import { call } from '../support/service/service-app.ts'
import { ServiceProcess } from '../support/service/service-process.ts'
import { StubbornPublisher } from '../support/service/stubborn-publisher.ts'

// Chromium's own EventSource and the service as users run it: the service is killed with -9 and restarted on the same
// port and files while events are published. Chromium reconnects after the 3 s that the service asks for.

const browser = await openBrowser(t)

async function untilStates (listener: Listener, state: string, count: number): Promise<void> {
  await listener.until(`states.filter(state => state === '${state}').length >= ${count}`)
}

t.test('the service is killed repeatedly: each page receives every event once and in order', async t => {
  const service = await ServiceProcess.start(t, { MAX_EVENTS: '1000000' })
  const { origin } = service
  // Any page of the origin will do: the service allows no other origin to subscribe.
  const [one, both] = await Promise.all(
    ['topic=a', 'topic=a&topic=b'].map(query => Listener.open(t, browser, service, `/events?${query}`, '/healthz'))
  )
  const publisher = new StubbornPublisher({
    name: 'p', topics: ['a', 'b'], origin: () => service.up.then(() => origin), onAcknowledged: () => {}
  })
  for (let kills = 1; kills <= 3; kills++) {
    await service.kill()
    // Once it is down for so long that connections are refused: an additional error after that of the broken stream.
    if (kills === 2) await Promise.all([one!, both!].map(listener => untilStates(listener, 'error 0', kills + 1)))
    await service.start()
    await Promise.all([one!, both!].map(listener => untilStates(listener, 'open', kills + 1)))
  }
  await publisher.stop()
  const { status } = await call(`${origin}/topics/a/events`, { method: 'POST', body: 'end', type: 'text/plain' })
  t.equal(status, 201)
  await Promise.all([one!, both!].map(listener => listener.until("heard.some(({ data }) => data === 'end')")))
  const published = (topic: string) =>
    publisher.acknowledged
      .filter(event => event.topic === topic)
      .map(({ id, data }) => ({ event: 'message', id, data }))
  const heard = (await one!.heard('message')).slice(0, -1)
  t.same(heard, published('a'))
  const heardByBoth = await both!.messages()
  for (const topic of ['a', 'b']) {
    t.same(heardByBoth.filter(data => data.startsWith(`${topic} `)), published(topic).map(({ data }) => data))
  }
  for (const listener of [one!, both!]) {
    t.same(await listener.heard('stream.gap', 'stream.error'), [])
    t.notOk((await listener.states()).includes('error 2'), 'it never gave up')
  }
  t.comment(`${heardByBoth.length} events, ${publisher.failures} tries cut`)
})
