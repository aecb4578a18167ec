import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import type { Test } from 'tap'
import { openBrowser, openPage } from '../../support/browser/browser.ts'
import { open } from '../../support/clients/client.ts'
import { TestService } from '../../support/service/service-app.ts'
import { bearer, SECRET, sign } from '../../support/auth/tokens.ts'

// Regression: without authentication, any page could publish to a service on the developer's own machine, and close and
// delete its topics: plain text needs no preflight, and CORS only prevents a page from reading the response.

const EVIL = 'https://evil.example'
const PAGE = 'https://app.example'

const changes = [
  { path: '/topics/news/events', method: 'POST', body: 'forged', type: 'text/plain' },
  { path: '/topics/news/events', method: 'POST', body: { data: 'forged' } },
  { path: '/topics/news/close', method: 'POST' },
  { path: '/topics/news', method: 'DELETE' }
] as const

const foreign: Record<string, string>[] = [
  { origin: EVIL }, { origin: 'null' }, { origin: 'http://127.0.0.1:1' }, {
    origin: 'http://localhost:8080.evil.example'
  }, { origin: '' },
  { 'sec-fetch-site': 'cross-site' }, { 'sec-fetch-site': 'same-site' }, { 'sec-fetch-site': 'anything' },
  { origin: EVIL, 'sec-fetch-site': 'same-origin' }, { origin: PAGE.replace('https', 'http') }
]

t.test('a page of another site cannot change anything; own pages, listed pages and programs can', async t => {
  for (const env of [{}, { OPEN_TO_ALL: 'yes' }, { CORS_ORIGINS: PAGE }]) {
    const service = await TestService.start(t, env)
    const own: Record<string, string>[] = [
      {},
      { origin: service.origin },
      { 'sec-fetch-site': 'same-origin' },
      { 'sec-fetch-site': 'none' },
      { origin: service.origin, 'sec-fetch-site': 'same-origin' }
    ]
    await service.publish('news', { data: 'kept' })
    const before = await service.counts('news')
    for (const change of changes) {
      for (const headers of foreign) {
        const { status, json } = await service.call(change.path, { ...change, headers })
        t.match(
          { status, json },
          { status: 403, json: { code: 'FST_SSE_BAD_ORIGIN', message: /may not change anything here/ } },
          `${change.method} ${change.path} ${JSON.stringify(headers)}`
        )
      }
    }
    t.same(await service.counts('news'), before)
    for (const headers of foreign) {
      t.equal((await service.call('/topics/news', { headers })).status, 200, 'CORS is for reading')
    }
    for (const headers of own) {
      for (const change of changes) t.ok((await service.call(change.path, { ...change, headers })).status < 300)
    }
  }
})

t.test('an origin of CORS_ORIGINS is allowed, and with * every origin is', async t => {
  for (const [CORS_ORIGINS, origin] of [[PAGE, PAGE], ['*', EVIL]] as const) {
    const service = await TestService.start(t, { CORS_ORIGINS })
    for (const change of changes) {
      t.ok(
        (await service.call(change.path, {
          ...change, headers: { origin, 'sec-fetch-site': 'cross-site' }
        })).status < 300
      )
    }
  }
})

t.test('if a token is required, a page that has one may use it from any site', async t => {
  const service = await TestService.start(t, { JWT_SECRET: SECRET })
  t.equal((await service.publish('news', { data: 1 }, {
    headers: { origin: EVIL, 'sec-fetch-site': 'cross-site', ...bearer(await sign()) }
  })).status, 201)
  t.equal((await service.publish('news', { data: 1 }, { headers: { origin: EVIL } })).status, 401)
})

/** A page of another origin that contains only text. */
async function startPage (t: Test): Promise<string> {
  const server = createServer((request, response) => response
    .setHeader('content-type', 'text/html')
    .end('<title>evil</title>'))
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  t.teardown(() => server.close())
  return `http://evil.localhost:${(server.address() as AddressInfo).port}/`
}

/** Every request that a page can send without a preflight, and those that need one. */
const ATTACK = `async origin => {
  const send = (path, init) => fetch(origin + path, init).then(({ type }) => type, () => 'blocked')
  const form = document.createElement('form')
  Object.assign(form, { method: 'POST', action: origin + '/topics/other/close', target: 'frame' })
  document.body.innerHTML = '<iframe name="frame"></iframe>'
  document.body.append(form)
  form.submit()
  navigator.sendBeacon(origin + '/topics/other/events', 'forged')
  return [
    await send('/topics/news/events', { method: 'POST', mode: 'no-cors', body: 'forged' }),
    await send('/topics/news/close', { method: 'POST', mode: 'no-cors' }),
    await send('/topics/news', { method: 'DELETE' }),
    await send('/topics/news/events', { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"data":"forged"}' })
  ]
}`

t.test('a page of another site in Chromium changes nothing, with any kind of request', async t => {
  const service = await TestService.start(t)
  await service.publish('news', { data: 'kept' })
  const before = await service.counts('news', 'other')
  const page = await openPage(t, await openBrowser(t))
  await page.goto(await startPage(t))
  const outcomes = await page.evaluate(`(${ATTACK})(${JSON.stringify(service.origin)})`)
  t.same(outcomes, ['opaque', 'opaque', 'blocked', 'blocked'])
  t.same(await service.counts('news', 'other'), before)

  await page.goto(`${service.origin}/console`)
  t.equal(await page.evaluate(
    async () => (await fetch('/topics/news/events', { method: 'POST', body: 'from the console' })).status
  ), 201, 'our own page may do it')
})

// Regression: the stream of a proxy's subject lasted as long as its connection: a user who was signed out at the proxy
// kept receiving events.
t.test('MAX_LIFETIME ends streams, and the grant of a proxy expires by itself', async t => {
  const service = await TestService.start(t, {
    MAX_LIFETIME: '1s', JWT_SECRET: SECRET, PROXY_HEADER: 'x-user', PROXY_FROM: '127.0.0.1'
  })
  for (const headers of [bearer(await sign()), { 'x-user': 'alice' }]) {
    const { inbox } = await open(t, `${service.origin}/events?topic=news`, {
      headers: { accept: 'text/event-stream', ...headers }
    })
    t.match(await inbox.ended(), 'stream.open')
  }
  const unbounded = await TestService.start(t, { PROXY_HEADER: 'x-user', PROXY_FROM: '127.0.0.1' })
  const { json } = await unbounded.call('/events/auth', { method: 'POST', body: {}, headers: { 'x-user': 'alice' } })
  const { headers, close } = await open(
    t,
    `${unbounded.origin}/events?topic=news&ot=${(json as { token: string }).token}`,
    { headers: { accept: 'text/event-stream' } }
  )
  const maxAge = Number(/Max-Age=(\d+)/.exec(headers['set-cookie']![0]!)![1])
  t.ok(maxAge > 3_500 && maxAge <= 3_600, `a one-time token's session lasts no longer: ${maxAge} s`)
  close()
})
