import type { ServerResponse } from 'node:http'
import t from 'tap'
import type { Test } from 'tap'
import { subscribe } from '../../plugin/client/index.ts'
import type {
  EndDetail,
  ErrorDetail,
  GapDetail,
  Published,
  SubscribeOptions,
  Subscription
} from '../../plugin/client/index.ts'
import { TestService } from '../support/service/service-app.ts'
import { ending, ScriptedServer, status, streaming } from '../support/network/scripted-server.ts'
import type { LockManagerLike } from '../../plugin/client/browser.ts'
import { bearer, SECRET, sign } from '../support/auth/tokens.ts'
import { provideLocks, withoutLocks } from '../support/browser/web-locks.ts'

const Original = BroadcastChannel

/** A subscription in one tab, with everything that it reports. */
class Tab {
  readonly subscription: Subscription
  readonly events: Pick<Published, 'topic' | 'id' | 'data'>[] = []
  readonly gaps: GapDetail[] = []
  readonly ends: EndDetail[] = []
  readonly errors: ErrorDetail[] = []
  #look = (): void => {}

  constructor (t: Test, options: SubscribeOptions) {
    this.subscription = subscribe({ shareAcrossTabs: true, backoff: { initialMs: 1, maxMs: 20 }, ...options })
    t.teardown(() => this.subscription.close())
    const { subscription } = this
    subscription.addEventListener('message', ({ topic, id, data }) => { this.events.push({ topic, id, data }) })
    subscription.addEventListener('gap', ({ detail }) => { this.gaps.push(detail) })
    subscription.addEventListener('end', ({ detail }) => { this.ends.push(detail) })
    subscription.addEventListener('error', ({ detail }) => { this.errors.push(detail) })
    for (const name of ['message', 'gap', 'end', 'error', 'open', 'state', 'expiring']) {
      subscription.addEventListener(name, () => this.#look())
    }
  }

  /** Settles when the condition holds. */
  until (condition: () => boolean): Promise<void> {
    return new Promise(resolve => {
      this.#look = () => { if (condition()) resolve() }
      this.#look()
    })
  }

  get ready (): Promise<void> {
    return this.until(() => this.subscription.lastEventId !== '')
  }

  get datas (): string[] {
    return this.events.map(({ data }) => data)
  }
}

async function streams (service: TestService): Promise<number> {
  const { text } = await service.call('/metrics')
  return Number(/^sse_streams_open (\d+)$/m.exec(text)?.[1])
}

const say = async (service: TestService, topic: string, data: string): Promise<void> => {
  const { status, text } = await service.publish(topic, data, { type: 'text/plain' })
  if (status !== 201) throw new Error(text)
}

/** The gap with which this subscription starts; closes it. */
async function gapOf (subscription: Subscription): Promise<GapDetail> {
  const gap = await new Promise<GapDetail>(resolve => {
    subscription.addEventListener('gap', ({ detail }) => resolve(detail), { once: true })
  })
  subscription.close()
  return gap
}

t.test('tabs share one connection; each gets its topics, with ids of their own', async t => {
  provideLocks(t)
  const service = await TestService.start(t)
  const url = `${service.origin}/events`
  const [a, ab, b] = [
    new Tab(t, { url, topics: ['a'] }), new Tab(t, { url, topics: ['b', 'a'] }), new Tab(t, { url, topics: ['b'] })
  ]
  await Promise.all([a.ready, ab.ready, b.ready])
  t.equal(await streams(service), 1)
  await say(service, 'a', 'a1')
  await say(service, 'b', 'b1')
  await Promise.all([
    a.until(() => a.events.length === 1), ab.until(() => ab.events.length === 2), b.until(() => b.events.length === 1)
  ])
  t.match(a.events, [{ topic: 'a', data: 'a1', id: /-1$/ }])
  t.match(b.events, [{ topic: 'b', data: 'b1', id: /-1$/ }])
  t.same(ab.events, [...a.events, ...b.events])
  // It has a cursor of its own, with which it could continue alone.
  t.equal(a.subscription.lastEventId, a.events[0]!.id)
  t.match(ab.subscription.lastEventId, /^[\w-]{6}\w+-1,[\w-]{6}\w+-1$/)
})

t.test('a tab that joins with an older cursor gets what it missed, and the others get nothing twice', async t => {
  provideLocks(t)
  const service = await TestService.start(t)
  const url = `${service.origin}/events`
  const first = new Tab(t, { url, topics: ['a'] })
  await first.ready
  for (const data of ['1', '2', '3']) await say(service, 'a', data)
  await first.until(() => first.events.length === 3)
  const late = new Tab(t, { url, topics: ['a', 'b'], lastEventId: first.events[0]!.id })
  const fresh = new Tab(t, { url, topics: ['a'] })
  await Promise.all([late.ready, fresh.ready])
  await say(service, 'a', '4')
  await say(service, 'b', '5')
  await late.until(() => late.events.some(({ data }) => data === '5'))
  await Promise.all([first, fresh].map(tab => tab.until(() => tab.events.some(({ data }) => data === '4'))))
  t.same(first.datas, ['1', '2', '3', '4'])
  t.same(fresh.datas.filter(data => Number(data) > 3), ['4'])
  t.same(late.events.filter(({ topic }) => topic === 'a').map(({ data }) => data).slice(-1), ['4'])
  t.equal(await streams(service), 1)
})

// Regression: the tab started now, and reported no gap.
t.test('a tab whose cursor only the server can read starts where it would start with its own connection', async t => {
  provideLocks(t)
  const service = await TestService.start(t)
  const url = `${service.origin}/events`
  for (const data of ['1', '2', '3']) await say(service, 'a', data)
  const { json } = await service.call('/topics/a/events')
  const [first] = (json as { events: { id: string }[] }).events
  const other = new Tab(t, { url, topics: ['b'] })
  await other.ready
  const plain = new Tab(t, { url, topics: ['b', 'a'], lastEventId: first!.id })
  const unreadable = new Tab(t, { url, topics: ['a', 'b'], lastEventId: 'news-17' })
  await plain.until(() => plain.events.length === 2)
  await unreadable.until(() => unreadable.events.length === 3)
  await say(service, 'a', '4')
  await Promise.all([plain, unreadable].map(tab => tab.until(() => tab.datas.includes('4'))))
  t.same([plain.datas, unreadable.datas], [['2', '3', '4'], ['1', '2', '3', '4']])
  t.same(plain.gaps, [])
  t.match(unreadable.gaps, [{ topic: 'a', reason: 'unknown' }, { topic: 'b', reason: 'unknown' }])
  t.equal(await streams(service), 1)
})

// Regression: only the first tab received the history.
// Regression: the stream was already open for another tab, so the server was not asked, and each event was dropped.
t.test('a tab whose cursor the server does not know is told so, and receives events, whoever joined before', async t => {
  provideLocks(t)
  const service = await TestService.start(t)
  const url = `${service.origin}/events`
  await say(service, 'a', '1')
  const first = new Tab(t, { url, topics: ['a'] })
  await first.ready
  const options = { url, topics: ['a'], lastEventId: '99999999999999-9' }
  const own = await gapOf(subscribe(options))
  const late = new Tab(t, options)
  await late.until(() => late.gaps.length > 0)
  t.same(late.gaps, [own])
  await say(service, 'a', '2')
  await Promise.all([late, first].map(tab => tab.until(() => tab.datas.includes('2'))))
  t.same([first.datas, late.datas], [['2'], ['1', '2']])
  t.equal(await streams(service), 1)
})

t.test('each tab receives the history that its URL asks for', async t => {
  provideLocks(t)
  const service = await TestService.start(t)
  const url = `${service.origin}/events?last=2`
  for (const data of ['1', '2', '3']) await say(service, 'a', data)
  for (let count = 0; count < 2; count++) {
    const tab = new Tab(t, { url, topics: ['a'] })
    await tab.until(() => tab.events.length === 2)
    t.same(tab.datas, ['2', '3'])
  }
})

t.test('a tab whose start the server rejects ends alone', async t => {
  provideLocks(t)
  const service = await TestService.start(t)
  const url = `${service.origin}/events`
  const other = new Tab(t, { url, topics: ['b'] })
  await other.ready
  const refused = new Tab(t, { url, topics: ['a', '?'], lastEventId: 'x' })
  await refused.until(() => refused.subscription.state === 'closed')
  t.match(refused.errors, [{ status: 400, willRetry: false }])
  t.equal(other.subscription.state, 'open')
})

t.test('a tab can be closed at any moment of its start, and the next one works', async t => {
  provideLocks(t)
  const service = await TestService.start(t)
  const url = `${service.origin}/events`
  for (let turns = 0; turns < 60; turns++) {
    const tab = new Tab(t, { url, topics: ['a'] })
    for (let at = 0; at < turns; at++) await Promise.resolve()
    tab.subscription.close()
    tab.subscription.close()
  }
  const last = new Tab(t, { url, topics: ['a'] })
  await last.ready
  await say(service, 'a', 'hello')
  await last.until(() => last.events.length > 0)
  t.match(last.events, [{ topic: 'a', data: 'hello' }])
})

t.test('when the leader leaves, another tab leads, and nothing is lost or repeated', async t => {
  provideLocks(t)
  const service = await TestService.start(t)
  const url = `${service.origin}/events`
  const tabs = [['a'], ['a', 'b'], ['b'], ['c', 'a']].map(topics => new Tab(t, { url, topics }))
  await Promise.all(tabs.map(tab => tab.ready))
  let count = 0
  const publishing = (async () => {
    while (count < 200) await say(service, ['a', 'b', 'c'][count % 3]!, `${count++}`)
  })()
  for (const at of [0, 1]) {
    await tabs[3]!.until(() => tabs[3]!.events.length > 20 * (at + 1))
    tabs[at]!.subscription.close()
  }
  await publishing
  for (const topic of ['a', 'b', 'c']) await say(service, topic, 'end')
  for (const tab of tabs.slice(2)) {
    await tab.until(() => tab.subscription.topics.every(
      topic => tab.events.some(event => event.topic === topic && event.data === 'end')
    ))
    for (const topic of tab.subscription.topics) {
      const wanted = Array.from({ length: 200 }, (_, at) => at)
        .filter(at => ['a', 'b', 'c'][at % 3] === topic)
        .map(String)
      t.same(tab.events.filter(event => event.topic === topic).map(({ data }) => data), [...wanted, 'end'])
    }
    t.same(tab.gaps, [])
  }
})

t.test('the topics of a tab can be changed in place', async t => {
  provideLocks(t)
  const service = await TestService.start(t)
  const tab = new Tab(t, { url: `${service.origin}/events`, topics: ['a'] })
  await tab.ready
  tab.subscription.add('b')
  await tab.until(() => tab.subscription.lastEventId.includes(','))
  await say(service, 'a', '1')
  await say(service, 'b', '2')
  await tab.until(() => tab.events.length === 2)
  t.match(tab.events, [{ topic: 'a', data: '1' }, { topic: 'b', data: '2' }])
})

// Regression: the connection after the change had no cursor, because the old one contains other topics. Events that
// were published in between were lost.
t.test('a tab whose topics change continues from its position in those that stay', async t => {
  provideLocks(t)
  const envelope = JSON.stringify({ topic: 'a', id: '1000-7', event: 'message', data: 'A' })
  const server = await ScriptedServer.start(
    t,
    streaming(`id: 1000-6\nevent: stream.open\ndata: \n\nid: 1000-7\ndata: ${envelope}\n\n`),
    streaming('id: ypeBEsrs-7,PiPoFg1-1\nevent: stream.open\ndata: \n\n'),
    streaming('id: 1000-7\nevent: stream.open\ndata: \n\n')
  )
  const tab = new Tab(t, { url: server.url, topics: ['a'] })
  await tab.until(() => tab.events.length === 1)
  tab.subscription.add('b')
  await tab.until(() => tab.subscription.lastEventId.includes(','))
  tab.subscription.remove('b')
  await tab.until(() => server.requests.length === 3)
  t.same(server.requests.map(({ headers }) => headers['last-event-id']), [undefined, 'ypeBEsrs-7', '1000-7'])
})

t.test('a tab whose topics are forbidden ends alone', async t => {
  provideLocks(t)
  const service = await TestService.start(t, { JWT_SECRET: SECRET })
  const url = `${service.origin}/events`
  const token = await sign({ topics: { subscribe: ['a', 'b'] } })
  const getToken = (): string => token
  const good = new Tab(t, { url, topics: ['a'], getToken })
  await good.ready
  const bad = new Tab(t, { url, topics: ['secret'], getToken })
  await bad.until(() => bad.subscription.state === 'closed')
  t.match(bad.errors.at(-1), { status: 403, willRetry: false })
  const publisher = bearer(await sign())
  t.equal((await service.publish('a', 'x', { type: 'text/plain', headers: publisher })).status, 201)
  await good.until(() => good.events.length === 1)
  t.match(good.events, [{ topic: 'a', data: 'x' }])
  const alone = new Tab(t, { url, topics: ['b'], getToken: () => 'nonsense', withCredentials: true })
  await alone.until(() => alone.subscription.state === 'closed')
  t.match(alone.errors.at(-1), { status: 401, willRetry: false })
})

// Regression: tabs that had joined since the stream was opened, or at the same time, ended with it.
t.test('a tab whose topics are forbidden ends alone, whoever joined before it or with it', async t => {
  provideLocks(t)
  const service = await TestService.start(t, { JWT_SECRET: SECRET })
  const token = await sign({ topics: { subscribe: ['a', 'b'] } })
  const options = { url: `${service.origin}/events`, getToken: () => token }
  const open = (topics: string[]): Tab => new Tab(t, { ...options, topics })
  const [bad, ...good] = [['secret'], ['a'], ['a', 'b'], ['b']].map(open)
  await bad!.until(() => bad!.subscription.state === 'closed')
  await Promise.all(good.map(tab => tab.ready))
  const another = open(['a'])
  await another.ready
  const late = open(['b', 'secret'])
  await late.until(() => late.subscription.state === 'closed')
  const tabs = [...good, another]
  t.same(tabs.map(tab => tab.errors.filter(({ willRetry }) => !willRetry)), tabs.map(() => []))
  for (const topic of ['a', 'b']) {
    await service.publish(topic, topic, { type: 'text/plain', headers: bearer(await sign()) })
  }
  await Promise.all(tabs.map(tab => tab.until(() => tab.events.length === tab.subscription.topics.length)))
  t.equal(await streams(service), 1)
})

// Regression: the leader attributed the 401 to the newest tabs, of which there were none, and reconnected without a
// pause, indefinitely.
t.test('when the session has ended, all tabs end, after one more request each', async t => {
  provideLocks(t)
  const open: ServerResponse[] = []
  let isOver = false
  const server = await ScriptedServer.start(t, (response, request) => {
    open.push(response)
    const step = isOver ? status(401) : streaming('retry: 1\nid: 1-1\nevent: stream.open\ndata:\n\n')
    step(response, request)
  })
  const tabs = ['a', 'b'].map(topic => new Tab(t, { url: server.url, topics: [topic] }))
  await Promise.all(tabs.map(tab => tab.until(() => tab.subscription.state === 'open')))
  const before = server.requests.length
  isOver = true
  for (const response of open) response.end()
  await Promise.all(tabs.map(tab => tab.until(() => tab.subscription.state === 'closed')))
  for (const tab of tabs) t.match(tab.errors.at(-1), { status: 401, willRetry: false })
  t.ok(server.requests.length <= before + tabs.length, `${server.requests.length - before} requests`)
})

t.test('ends, gaps and errors reach the tabs that they concern', async t => {
  provideLocks(t)
  const envelope = (topic: string, id: string, data: string): string =>
    `id: ${id}\ndata: ${JSON.stringify({ topic, id, event: 'message', data })}\n\n`
  const gap = JSON.stringify({ topic: 'a', reason: 'trimmed', after: '1-1', resumedAt: '1-9', missed: 7 })
  const script = [
    ending(
      `event: stream.open\nid: tagaaa1-1,tagbbb1-1\ndata\n\nevent: stream.error\ndata: {"message":"oops"}\n\n${envelope('a', '1-2', 'A')}`
    ),
    status(503),
    streaming(
      `event: stream.open\ndata\n\nevent: stream.expiring\ndata: {"expiresIn":9}\n\nevent: stream.gap\nid: tagaaa1-8,tagbbb1-1\ndata: ${gap}\n\n${envelope('a', '1-9', 'A9')}event: stream.end\ndata: {"topic":"a"}\n\n${envelope('b', '1-2', 'B')}event: stream.end\ndata: {"topic":"b","reason":"done"}\n\n`
    )
  ]
  // Until both have joined there is only an open stream. The first one leads; when it has ended, the other continues.
  const server = await ScriptedServer.start(t, (response, request) => {
    const isBoth = request.url!.includes('topic=a&topic=b')
    const isLast = request.url!.includes('topic=b')
    const step = isBoth
      ? script.shift()
      : isLast
        ? streaming(
      `event: stream.open\ndata\n\n${envelope('b', '1-2', 'B')}event: stream.end\ndata: {"topic":"b","reason":"done"}\n\n`
        )
        : undefined
    const idle = streaming('event: stream.open\ndata\n\n')
    ;(step ?? idle)(response, request)
  })
  const [a, b] = [new Tab(t, { url: server.url, topics: ['a'] }), new Tab(t, { url: server.url, topics: ['b'] })]
  await Promise.all([a, b].map(tab => tab.until(() => tab.subscription.state === 'closed')))
  t.same(a.ends, [{ topic: 'a', reason: 'closed' }])
  t.same(b.ends, [{ topic: 'b', reason: 'done' }])
  t.same(b.gaps, [])
  t.match(a.gaps, [{ topic: 'a', resumedAt: '1-9' }])
  t.same(a.datas, ['A', 'A9'])
  t.same(b.datas, ['B'])
  for (const tab of [a, b]) t.ok(tab.errors.some(({ message, willRetry }) => message.startsWith('503') && willRetry))
})

// They received `open` and then nothing, because the leader had forwarded the end before.
t.test('a tab that joins after the end of its topic ends, also under the next leader', async t => {
  provideLocks(t)
  const service = await TestService.start(t)
  const url = `${service.origin}/events`
  const [first, second] = [['inbox', 'answer'], ['inbox', 'answer']].map(topics => new Tab(t, { url, topics })) as [Tab, Tab]
  await Promise.all([first.ready, second.ready])
  await say(service, 'answer', '1')
  await Promise.all([first, second].map(tab => tab.until(() => tab.events.length === 1)))
  await service.call('/topics/answer/close', { method: 'POST' })
  await Promise.all([first, second].map(tab => tab.until(() => tab.ends.length > 0)))
  const joinTwo = async (): Promise<void> => {
    for (const lastEventId of ['', first.events[0]!.id]) {
      const late = new Tab(t, { url, topics: ['answer'], lastEventId })
      await late.until(() => late.subscription.state === 'closed')
      t.same(late.ends, [{ topic: 'answer', reason: 'closed' }])
    }
  }
  await joinTwo()
  first.subscription.close()
  await joinTwo()
  await say(service, 'inbox', '2')
  await second.until(() => second.events.length === 2)
  t.same(second.datas, ['1', '2'])
})

t.test('a tab that joins after its topic was closed and deleted stays open', async t => {
  provideLocks(t)
  const service = await TestService.start(t)
  const url = `${service.origin}/events`
  const first = new Tab(t, { url, topics: ['inbox', 'answer'] })
  await first.ready
  await service.call('/topics/answer/close', { method: 'POST' })
  await first.until(() => first.ends.length === 1)
  await service.call('/topics/answer', { method: 'DELETE' })
  const late = new Tab(t, { url, topics: ['answer'] })
  await late.ready
  await say(service, 'answer', '1')
  await late.until(() => late.events.length === 1)
  t.same([late.ends, late.subscription.state], [[], 'open'])
})

t.test('204 ends all tabs', async t => {
  provideLocks(t)
  const server = await ScriptedServer.start(t, status(204))
  const tab = new Tab(t, { url: server.url, topics: ['a'] })
  await tab.until(() => tab.subscription.state === 'closed')
  t.same(tab.ends, [{ reason: 'closed' }])
})

t.test('a server that does not report topics cannot be shared, which is reported as an error', async t => {
  provideLocks(t)
  const server = await ScriptedServer.start(t, streaming('id: 1\ndata: x\n\n'))
  const a = new Tab(t, { url: server.url, topics: ['a', 'c'] })
  await a.until(() => a.subscription.state === 'closed')
  t.match(a.errors.at(-1), { message: 'shareAcrossTabs needs a server that answers envelope=true', willRetry: false })
})

// Regression: its first failure was preceded by `open`.
t.test('a tab whose server is unavailable reports that, and that it is open only when it is', async t => {
  provideLocks(t)
  const server = await ScriptedServer.start(t, status(503), streaming('event: stream.open\nid: 1-1\ndata\n\n'))
  const { subscription, errors } = new Tab(t, { url: server.url, topics: ['a'] })
  const before = await new Promise(resolve => {
    subscription.addEventListener('open', () => resolve([...errors]))
  })
  t.match(before, [{ willRetry: true }])
})

t.test('where tabs cannot communicate, each has a connection', async t => {
  withoutLocks(t)
  const service = await TestService.start(t)
  const url = `${service.origin}/events`
  const tabs = ['a', 'b'].map(topic => new Tab(t, { url, topics: [topic] }))
  await Promise.all(tabs.map(tab => tab.ready))
  t.equal(await streams(service), 2)
})

// One that could not be read kept the leader from admitting any tab from then on.
// Regression: it waited for its lock, without an error.
t.test('a tab to which the browser denies locks has its own connection', async t => {
  const denied = async (): Promise<void> => { throw new DOMException('denied', 'SecurityError') }
  provideLocks(t, { request: denied, query: denied as () => Promise<never> })
  const service = await TestService.start(t)
  const options = { url: `${service.origin}/events`, topics: ['a'] }
  const tabs = [new Tab(t, options), new Tab(t, options)]
  await Promise.all(tabs.map(tab => tab.ready))
  await say(service, 'a', '1')
  await Promise.all(tabs.map(tab => tab.until(() => tab.events.length === 1)))
  t.equal(await streams(service), 2)
})

t.test('unknown messages on the channel are ignored', async t => {
  provideLocks(t)
  const service = await TestService.start(t)
  const url = `${service.origin}/events`
  const a = new Tab(t, { url, topics: ['a'] })
  await a.ready
  const channel = new BroadcastChannel(`resumable-sse:false:${url}`)
  t.teardown(() => channel.close())
  const positions = new Map([['a', { ms: 'x', n: 1 }]])
  for (const message of [
    undefined, null, 7, 'join', {}, { kind: '__proto__' }, { kind: 'constructor' }, { kind: 'lead' }, { kind: 'leave' },
    { kind: 'join', member: 'm', topics: 7, positions: new Map() },
    { kind: 'join', member: 'm', topics: [7], positions: new Map() },
    { kind: 'join', member: 'm', topics: ['a'], positions }, { kind: 'join', member: 'm', topics: ['a'] },
    ...[
      { kind: 'open', members: 'm', positions: {} }, { kind: 'published', event: { topic: 'a' } },
      { kind: 'published', position: 7 },
      { kind: 'gap' }, { kind: 'gap', detail: { topic: 'a', after: 7, resumedAt: null } }, { kind: 'end' },
      { kind: 'finished' },
      { kind: 'expiring' }, { kind: 'failed', detail: null }, { kind: 'failed', detail: {}, members: 7 }
    ].map(message => ({ ...message, leader: 'm' }))
  ]) channel.postMessage(message)
  const b = new Tab(t, { url, topics: ['b'] })
  await b.ready
  await say(service, 'a', '1')
  await say(service, 'b', '2')
  await a.until(() => a.events.length === 1)
  await b.until(() => b.events.length === 1)
  t.same([a.datas, b.datas, a.errors, b.errors], [['1'], ['2'], [], []])
  t.equal(await streams(service), 1)
})

t.test('a subscription that is closed at once leaves nothing behind', async t => {
  provideLocks(t)
  const service = await TestService.start(t)
  const url = `${service.origin}/events`
  new Tab(t, { url, topics: ['a'] }).subscription.close()
  const brief = new Tab(t, { url, topics: ['a'] })
  await brief.until(() => brief.subscription.state === 'connecting')
  brief.subscription.close()
  const next = new Tab(t, { url, topics: ['a'] })
  await next.ready
  t.equal(await streams(service), 1)
})

/** A BroadcastChannel whose page can be suspended: nothing arrives and nothing leaves until it continues. */
class SuspendableChannel {
  static readonly all: SuspendableChannel[] = []
  onmessage: ((event: { data: unknown }) => void) | undefined
  readonly #channel: InstanceType<typeof Original>
  readonly #pending: (() => void)[] = []
  #isSuspended = false

  constructor (name: string) {
    this.#channel = new Original(name)
    this.#channel.onmessage = (event: unknown) => this.#run(() => this.onmessage?.(event as { data: unknown }))
    SuspendableChannel.all.push(this)
  }

  postMessage (message: unknown): void { this.#run(() => { this.#channel.postMessage(message) }) }
  close (): void { this.#channel.close() }
  suspend (): void { this.#isSuspended = true }

  continue (): void {
    this.#isSuspended = false
    for (const run of this.#pending.splice(0)) run()
  }

  #run (action: () => void): void {
    if (this.#isSuspended) this.#pending.push(action)
    else action()
  }
}

// Regression: the other tabs received nothing until the suspended one continued or was closed.
t.test('a leader whose page is suspended is replaced, and no tab loses or repeats an event, nor when it continues', async t => {
  provideLocks(t)
  t.intercept(globalThis, 'BroadcastChannel', { value: SuspendableChannel })
  const service = await TestService.start(t, { HEARTBEAT_MS: '100' })
  const options = { url: `${service.origin}/events`, topics: ['a'] }
  const leader = new Tab(t, options)
  await leader.ready
  const other = new Tab(t, { ...options, stallTimeoutMs: 1_000 })
  await other.ready
  SuspendableChannel.all[0]!.suspend()
  await say(service, 'a', '1')
  await other.until(() => other.events.length === 1)
  SuspendableChannel.all[0]!.continue()
  await say(service, 'a', '2')
  await Promise.all([leader, other].map(tab => tab.until(() => tab.events.length === 2)))
  t.same([leader.datas, other.datas], [['1', '2'], ['1', '2']])
  t.equal(await streams(service), 1)
})

t.test('a leader that hears nothing from other tabs keeps its connection', async t => {
  provideLocks(t)
  const event = JSON.stringify({ topic: 'a', id: '1-1', event: 'message', data: 'one' })
  const server = await ScriptedServer.start(t, streaming(`event: stream.open\ndata\n\nid: 1-1\ndata: ${event}\n\n`))
  const checks: (() => void)[] = []
  const start = globalThis.setInterval
  t.intercept(globalThis, 'setInterval', {
    value: (callback: () => void, ms: number) => {
      if (ms === 7_000) checks.push(callback)
      return start(callback, ms)
    }
  })
  const tab = new Tab(t, { url: server.url, topics: ['a'], stallTimeoutMs: 14_000 })
  await tab.until(() => tab.events.length === 1)
  t.equal(checks.length, 1)
  for (let round = 0; round < 9; round++) checks[0]!()
  t.equal(tab.subscription.state, 'open')
  t.equal(server.requests.length, 1)
})

t.test('a lock whose holder never answers is taken from it', async t => {
  provideLocks(t)
  const service = await TestService.start(t, { HEARTBEAT_MS: '100' })
  const url = `${service.origin}/events`
  const { locks } = (globalThis as unknown as { navigator: { locks: LockManagerLike } }).navigator
  const holder = locks.request(
    `resumable-sse:false:${url}:leader`, { signal: new AbortController().signal }, () => new Promise(() => {})
  )
  const tab = new Tab(t, { url, topics: ['a'], stallTimeoutMs: 1_000 })
  await t.rejects(holder, { name: 'AbortError' })
  await tab.ready
  await say(service, 'a', '1')
  await tab.until(() => tab.events.length === 1)
})
