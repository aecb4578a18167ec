import t from 'tap'
import { RedisTokenStore } from '../../plugin/auth/redis.ts'
import { openBrowser } from '../support/browser/browser.ts'
import { RedisServer } from '../support/redis/redis-server.ts'
import { TcpProxy } from '../support/network/tcp-proxy.ts'
import { startTokenSite, TokenPage, TOKEN_FLAGS } from '../support/browser/token-site.ts'
import type { TokenSite } from '../support/browser/token-site.ts'

// A real EventSource in Chromium: it reconnects by itself with a URL whose token has been spent, and must be accepted
// anyway.

const browser = await openBrowser(t, TOKEN_FLAGS)

/** Returns a function that publishes the next numbers. */
function publisher ({ app }: TokenSite): (count: number) => Promise<void> {
  let published = 0
  return async count => {
    for (let more = 0; more < count; more++) await app.topics.publish('news', { data: `${++published}` })
  }
}

const numbers = (count: number): string[] => Array.from({ length: count }, (_, at) => `${at + 1}`)

const cases = [
  {
    name: 'the stream\'s own site',
    page: 'app.test',
    stream: 'app.test',
    cookie: { sameSite: 'Strict', partitioned: false }
  },
  {
    name: 'another host of the stream\'s site',
    page: 'www.app.test',
    stream: 'app.test',
    cookie: { sameSite: 'Strict', partitioned: false }
  },
  { name: 'another site', page: 'app.test', stream: 'events.test', cookie: { sameSite: 'None', partitioned: true } }
]

for (const { name, page, stream, cookie } of cases) {
  t.test(`a page of ${name}: connections cut while events are published lose nothing, with one token and its cookie`, async t => {
    const site = await startTokenSite(t)
    const context = await browser.newContext({ ignoreHTTPSErrors: true })
    t.teardown(() => context.close())
    const opened = await TokenPage.open(t, context, site, page, stream)
    const publish = publisher(site)
    for (let cuts = 1; cuts <= 3; cuts++) {
      await publish(3)
      site.app.server.closeAllConnections()
      await publish(2)
      await opened.until(`states.filter(state => state === 'open').length > ${cuts} && heard.length === ${cuts * 5}`)
    }
    t.same(await opened.heard(), numbers(15))
    t.equal((await opened.sessions()).length, 1, 'one token')
    t.notOk((await opened.states()).includes('error 2'))
    const cookies = await context.cookies()
    t.equal(cookies.length, 1)
    t.match(cookies[0], {
      name: /^__Host-sse-/, httpOnly: true, secure: true, path: '/', domain: stream, sameSite: cookie.sameSite
    })
    t.equal('partitionKey' in cookies[0]! && cookies[0].partitionKey !== undefined, cookie.partitioned)
  })

  t.test(`a page of ${name}: when the session has ended EventSource gives up, and the page continues with a new token without loss`, async t => {
    const site = await startTokenSite(t)
    const context = await browser.newContext({ ignoreHTTPSErrors: true })
    t.teardown(() => context.close())
    const opened = await TokenPage.open(t, context, site, page, stream)
    const publish = publisher(site)
    await publish(3)
    await opened.until('heard.length === 3')
    const [session] = await opened.sessions()
    await site.app.auth.revoke({ session: session! })
    await publish(3)
    await opened.until('sessions.length === 2 && heard.length === 6')
    t.same(await opened.heard(), numbers(6))
    t.same(await opened.states(), ['open', 'error 0', 'error 2', 'open'])
  })
}

t.test('sessions that expire follow one another, and nothing is lost between them', async t => {
  const site = await startTokenSite(t, { sessionMaxMs: 700 })
  const context = await browser.newContext({ ignoreHTTPSErrors: true })
  t.teardown(() => context.close())
  const opened = await TokenPage.open(t, context, site, 'app.test', 'events.test')
  const publish = publisher(site)
  let count = 0
  while ((await opened.sessions()).length < 4) {
    await publish(1)
    count++
  }
  await opened.until(`heard.length === ${count}`)
  t.same(await opened.heard(), numbers(count))
  t.ok((await context.cookies()).length <= 4, 'the cookies of ended sessions are removed')
})

t.test('two tabs of one browser have a session each, and both reconnect', async t => {
  const site = await startTokenSite(t)
  const context = await browser.newContext({ ignoreHTTPSErrors: true })
  t.teardown(() => context.close())
  const tabs = [
    await TokenPage.open(t, context, site, 'app.test', 'app.test'),
    await TokenPage.open(t, context, site, 'app.test', 'app.test')
  ]
  const publish = publisher(site)
  await publish(2)
  site.app.server.closeAllConnections()
  await publish(2)
  for (const tab of tabs) {
    await tab.until('heard.length === 4')
    t.same(await tab.heard(), numbers(4))
    t.equal((await tab.sessions()).length, 1)
  }
  t.equal((await context.cookies()).length, 2)
})

t.test('while the store is unavailable EventSource is asked to retry later, and continues with its token when the store is back', async t => {
  const server = await RedisServer.start(t)
  const proxy = await TcpProxy.start(t, server.port)
  const site = await startTokenSite(t, { store: new RedisTokenStore({ connection: proxy.url }) })
  const context = await browser.newContext({ ignoreHTTPSErrors: true })
  t.teardown(() => context.close())
  const opened = await TokenPage.open(t, context, site, 'app.test', 'events.test')
  const publish = publisher(site)
  await publish(1)
  await opened.until('heard.length === 1')
  proxy.down()
  site.app.server.closeAllConnections()
  await publish(2)
  // It was admitted, asked to wait, and reconnects.
  await opened.until("states.filter(state => state === 'error 0').length >= 3")
  proxy.up()
  await opened.until('heard.length === 3')
  t.same(await opened.heard(), numbers(3))
  t.equal((await opened.sessions()).length, 1)
  t.notOk((await opened.states()).includes('error 2'))
})
