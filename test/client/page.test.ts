import t from 'tap'
import type { Test } from 'tap'
import { subscribe } from '../../plugin/client/index.ts'
import type { Subscription } from '../../plugin/client/index.ts'
import { ending, ScriptedServer, streaming } from '../support/network/scripted-server.ts'

/** What a page has in addition to Node's globals. Real pages are tested in test/browser. */
class Page extends EventTarget {
  readonly document = Object.assign(new EventTarget(), { visibilityState: 'hidden' })
  readonly stored = new Map<string, string>()

  static open (t: Test): Page {
    const page = new Page()
    const { stored, document } = page
    const sessionStorage = {
      getItem: (key: string) => stored.get(key) ?? null,
      setItem: (key: string, value: string) => { stored.set(key, value) }
    }
    const globals = {
      addEventListener: page.addEventListener.bind(page),
      document,
      sessionStorage,
      location: { href: 'http://127.0.0.1:1/page' }
    }
    for (const [name, value] of Object.entries(globals)) {
      Object.defineProperty(globalThis, name, { value, configurable: true })
    }
    t.teardown(() => { for (const name of Object.keys(globals)) delete (globalThis as Record<string, unknown>)[name] })
    return page
  }

  fire (type: string, fields: object = {}): void {
    this.dispatchEvent(Object.assign(new Event(type), fields))
  }

  show (): void {
    this.document.visibilityState = 'visible'
    this.document.dispatchEvent(new Event('visibilitychange'))
  }
}

const NEVER = { backoff: { initialMs: 2 ** 31 - 1, maxMs: 2 ** 31 - 1 } } as const

function reach (subscription: Subscription, state: string): Promise<void> {
  return new Promise(resolve => {
    const look = (): void => { if (subscription.state === state) resolve() }
    subscription.addEventListener('state', look)
    look()
  })
}

function message (subscription: Subscription): Promise<string> {
  return new Promise(resolve => subscription.addEventListener('message', ({ data }) => resolve(data), { once: true }))
}

for (const [name, wake] of [
  ['the network is back', (page: Page) => page.fire('online')],
  ['the page is visible again', (page: Page) => page.show()]
] as const) {
  t.test(`it stops waiting when ${name}`, async t => {
    const page = Page.open(t)
    const server = await ScriptedServer.start(t, ending('id: 1-1\ndata: a\n\n'), streaming('id: 1-2\ndata: b\n\n'))
    const subscription = subscribe({ url: server.url, ...NEVER })
    t.teardown(() => subscription.close())
    await reach(subscription, 'waiting')
    const next = message(subscription)
    page.document.dispatchEvent(new Event('visibilitychange'))
    t.equal(subscription.state, 'waiting', 'a hidden page does not reconnect')
    wake(page)
    t.equal(await next, 'b')
    page.fire('online')
    t.equal(server.requests.length, 2, 'a working stream is not replaced')
  })
}

t.test('a page in the back/forward cache has no connection, and resumes when it is shown', async t => {
  const page = Page.open(t)
  const server = await ScriptedServer.start(t, streaming('id: 1-1\ndata: a\n\n'), streaming('id: 1-2\ndata: b\n\n'))
  const subscription = subscribe({ url: server.url, ...NEVER })
  t.teardown(() => subscription.close())
  t.equal(await message(subscription), 'a')
  page.fire('pagehide', { persisted: false })
  page.fire('pageshow', { persisted: false })
  t.equal(subscription.state, 'open', 'a page that is closed ends by itself')
  const closed = new Promise(resolve => server.requests[0]!.socket.once('close', resolve))
  page.fire('pagehide', { persisted: true })
  await closed
  await reach(subscription, 'waiting')
  const next = message(subscription)
  page.fire('pageshow', { persisted: true })
  t.equal(await next, 'b')
  t.equal(server.requests[1]!.headers['last-event-id'], '1-1')
})

t.test('a stream that went silent while the page was frozen is replaced when it is shown', async t => {
  const page = Page.open(t)
  t.context.now = 0
  const now = performance.now.bind(performance)
  let frozenMs = 0
  performance.now = () => now() + frozenMs
  t.teardown(() => { performance.now = now })
  const server = await ScriptedServer.start(t, streaming('id: 1-1\ndata: a\n\n'), streaming('id: 1-2\ndata: b\n\n'))
  const subscription = subscribe({ url: server.url, ...NEVER })
  t.teardown(() => subscription.close())
  t.equal(await message(subscription), 'a')
  frozenMs = 3_600_000
  const next = message(subscription)
  page.show()
  t.equal(await next, 'b')
})

t.test('the cursor is kept over reloads of the page, and a page without storage works without it', async t => {
  const page = Page.open(t)
  const server = await ScriptedServer.start(
    t,
    streaming('id: 1-1\ndata: a\n\n'),
    streaming('id: 1-2\ndata: b\n\n'),
    streaming('data: c\n\n')
  )
  for (const expected of ['a', 'b']) {
    const subscription = subscribe({ url: server.url, persist: 'feed', lastEventId: '0-0' })
    t.equal(await message(subscription), expected)
    subscription.close()
  }
  t.same(server.requests.map(({ headers }) => headers['last-event-id']), ['0-0', '1-1'])
  t.same([...page.stored], [['resumable-sse:feed', '1-2']])
  // A stream that resets the id, or has no position yet, leaves nothing to continue from.
  page.stored.set('resumable-sse:feed', '')
  const again = subscribe({ url: server.url, persist: 'feed', lastEventId: '0-0' })
  t.equal(await message(again), 'c')
  again.close()
  t.equal(server.requests.at(-1)!.headers['last-event-id'], '0-0')
  Object.defineProperty(globalThis, 'sessionStorage', { get () { throw new Error('denied') }, configurable: true })
  const subscription = subscribe({ url: server.url, persist: 'feed', lastEventId: '0-0' })
  t.teardown(() => subscription.close())
  t.equal(await message(subscription), 'c')
})

t.test('an address is relative to the page', async t => {
  const server = await ScriptedServer.start(t, streaming('data: a\n\n'))
  Page.open(t)
  Object.defineProperty(globalThis, 'location', { value: { href: server.url }, configurable: true })
  const subscription = subscribe({ url: '/stream?x=1', topics: ['a'] })
  t.teardown(() => subscription.close())
  t.equal(await message(subscription), 'a')
  t.equal(server.requests[0]!.url, '/stream?x=1&topic=a')
})
