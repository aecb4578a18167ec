import t from 'tap'
import { positionOf, tagOf } from '../../../plugin/client/cursor.ts'
import { Leader } from '../../../plugin/client/tabs/leader.ts'
import type { Transport } from '../../../plugin/client/connection/transport.ts'

/** A transport whose streams open and stay silent, with the topics of each request. */
function silentTransport (): { transport: Transport, requested: string[][] } {
  const requested: string[][] = []
  const transport: Transport = ({ url }, sink, signal) => {
    requested.push(url.searchParams.getAll('topic'))
    sink.open()
    sink.message({ id: '1-0', event: 'stream.open', data: '' })
    return new Promise(resolve => {
      signal.addEventListener('abort', () => resolve({ kind: 'ended' }), { once: true })
    })
  }
  return { transport, requested }
}

// Regression: its topics stayed in the stream as long as the leader.
t.test('a member that leaves while it is admitted is gone', async t => {
  const { transport, requested } = silentTransport()
  let opened = (_members: readonly string[]): void => {}
  const leader = new Leader({ url: 'http://x.test/events' }, transport, message => {
    if (message.kind === 'open') opened(message.members)
  })
  t.teardown(() => leader.stop())
  const join = (member: string, topic: string): void => {
    leader.join({ kind: 'join', member, topics: [topic], positions: new Map() })
  }
  join('one', 'a')
  leader.leave('one')
  const members = await new Promise<readonly string[]>(resolve => {
    opened = names => { if (names.includes('two')) resolve(names) }
    join('two', 'b')
  })
  t.same(members, ['two'])
  t.same(requested.at(-1), ['b'])
})

t.test('a leader that stops while members are rejected does not connect again', async t => {
  let requests = 0
  const failed: string[] = []
  let stop = (): void => {}
  const transport: Transport = () => {
    requests++
    return Promise.resolve({ kind: 'rejected', status: 403, message: 'no' })
  }
  const done = new Promise<void>(resolve => {
    const leader = new Leader({ url: 'http://x.test/events' }, transport, message => {
      if (message.kind === 'failed') failed.push(...message.members ?? [])
      if (message.kind !== 'interrupted') return
      // Sent when the connector closes, after the members were rejected.
      leader.stop()
      resolve()
    })
    stop = () => leader.stop()
    for (const member of ['one', 'two', 'three']) {
      leader.join({ kind: 'join', member, topics: [member], positions: new Map() })
    }
  })
  t.teardown(() => stop())
  await done
  const before = requests
  await new Promise(resolve => setImmediate(resolve))
  t.equal(requests, before)
  t.ok(failed.length <= 1, `${failed}`)
})

// Regression: all gaps but the last were sent without the place where the stream continues.
t.test('gaps are sent when it is known where the stream continues after them, and before the next event', async t => {
  const [a, b] = await Promise.all(['a', 'b'].map(async topic => positionOf((await tagOf(topic))!, '2-5')))
  const gap = (topic: string): string => JSON.stringify({ topic, reason: 'trimmed', after: '1-1', resumedAt: null })
  const envelope = JSON.stringify({ topic: 'a', id: '2-6', event: 'message', data: '' })
  const transport: Transport = (_request, sink, signal) => {
    sink.open()
    sink.message({ id: undefined, event: 'stream.open', data: '' })
    sink.message({ id: undefined, event: 'stream.gap', data: gap('a') })
    sink.message({ id: `${a},${b}`, event: 'stream.gap', data: gap('b') })
    sink.message({ id: undefined, event: 'stream.gap', data: gap('a') })
    sink.message({ id: undefined, event: 'message', data: envelope })
    return new Promise(resolve => {
      signal.addEventListener('abort', () => resolve({ kind: 'ended' }), { once: true })
    })
  }
  const sent: unknown[] = []
  await new Promise<void>(resolve => {
    const leader = new Leader({ url: 'http://x.test/events' }, transport, message => {
      if (message.kind === 'gap') sent.push([message.detail.topic, message.positions!.get(message.detail.topic)])
      if (message.kind !== 'published') return
      sent.push('event')
      resolve()
    })
    t.teardown(() => leader.stop())
    leader.join({ kind: 'join', member: 'one', topics: ['a', 'b'], positions: new Map() })
  })
  const end = { ms: 2, n: 5 }
  t.same(sent, [['a', end], ['b', end], ['a', end], 'event'])
})

// Regression: it received all events since the stream was lost.
t.test('a member that starts now is told which topics continue from a position after a pause', async t => {
  for (const text of [undefined, '{"topic":"a"}']) {
    const transport: Transport = ({ cursor }, sink, signal) => {
      sink.open()
      sink.message({ id: '1-5', event: 'stream.open', data: '' })
      if (cursor === '' && text !== undefined) sink.message({ id: undefined, event: 'stream.end', data: text })
      if (cursor === '') return Promise.resolve({ kind: 'ended' })
      return new Promise(resolve => {
        signal.addEventListener('abort', () => resolve({ kind: 'ended' }), { once: true })
      })
    }
    const opened: unknown[] = []
    let isLate = false
    await new Promise<void>(resolve => {
      const options = { url: 'http://x.test/events', backoff: { initialMs: 1 } }
      const leader = new Leader(options, transport, message => {
        if (message.kind === 'open') opened.push([message.members, message.repeated])
        if (message.kind === 'open' && message.members.includes('two')) resolve()
        if (message.kind !== 'interrupted' || isLate) return
        isLate = opened.length > 0
        if (isLate) leader.join({ kind: 'join', member: 'two', topics: ['a'], positions: new Map() })
      })
      t.teardown(() => leader.stop())
      leader.join({ kind: 'join', member: 'one', topics: ['a'], positions: new Map() })
    })
    t.same(opened, [[['one'], []], [['one', 'two'], ['a']]], text ?? 'waiting')
  }
})

// Regression: it was never admitted, if the tab of this leader was not among the others.
t.test('a member that waits to be admitted is admitted when all others have ended', async t => {
  const requested: string[][] = []
  const rejections = [403, 204]
  await new Promise<void>(resolve => {
    const transport: Transport = ({ url }, sink, signal) => {
      requested.push(url.searchParams.getAll('topic'))
      const status = requested.length === 1 ? undefined : rejections.shift()
      if (status !== undefined) return Promise.resolve({ kind: 'rejected', status, message: 'no' })
      sink.open()
      sink.message({ id: '1-0', event: 'stream.open', data: '' })
      return new Promise(resolve => {
        signal.addEventListener('abort', () => resolve({ kind: 'ended' }), { once: true })
      })
    }
    const leader = new Leader({ url: 'http://x.test/events' }, transport, message => {
      if (message.kind === 'finished') for (const member of message.members) leader.leave(member)
      if (message.kind !== 'open') return
      if (message.members.includes('three')) resolve()
      else leader.join(joinOf('two', 'b'), joinOf('three', 'c'))
    })
    t.teardown(() => leader.stop())
    const joinOf = (member: string, topic: string) =>
      ({ kind: 'join', member, topics: [topic], positions: new Map() }) as const
    leader.join(joinOf('one', 'a'))
  })
  t.same(requested, [['a'], ['a', 'b', 'c'], ['a', 'b'], ['c']])
})

// Regression: the other members were considered the cause, and ended.
t.test('if a member leaves before the server rejects its topics, the others stay', async t => {
  const requested: string[][] = []
  let reject = (): void => {}
  const transport: Transport = ({ url }, sink, signal) => {
    const topics = url.searchParams.getAll('topic')
    requested.push(topics)
    return new Promise(resolve => {
      signal.addEventListener('abort', () => resolve({ kind: 'ended' }), { once: true })
      reject = () => resolve({ kind: 'rejected', status: 403, message: 'no' })
      if (topics.includes('secret')) return leave()
      sink.open()
      sink.message({ id: '1-0', event: 'stream.open', data: '' })
    })
  }
  const sent: unknown[] = []
  let opened = (): void => {}
  const leader = new Leader({ url: 'http://x.test/events' }, transport, message => {
    if (message.kind === 'failed') sent.push(message)
    if (message.kind === 'open') opened()
  })
  t.teardown(() => leader.stop())
  const join = (member: string, topic: string): void => {
    leader.join({ kind: 'join', member, topics: [topic], positions: new Map() })
  }
  const leave = (): void => {
    leader.leave('two')
    // After the member has left.
    setImmediate(() => reject())
  }
  const isOpen = (): Promise<void> => new Promise(resolve => { opened = resolve })
  join('one', 'a')
  await isOpen()
  join('two', 'secret')
  await isOpen()
  t.same([requested, sent], [[['a'], ['a', 'secret'], ['a']], []])
})

// Regression: the stream counted as open until the connection had really been closed, so that the second message seemed
// to prove that the server accepts the topics. Then all members ended.
t.test('a member without permission that joins twice ends alone', async t => {
  const transport: Transport = ({ url }, sink, signal) => {
    if (url.searchParams.has('topic', 'secret')) {
      return Promise.resolve({ kind: 'rejected', status: 403, message: 'no' })
    }
    sink.open()
    sink.message({ id: '1-0', event: 'stream.open', data: '' })
    return new Promise(resolve => {
      signal.addEventListener('abort', () => resolve({ kind: 'ended' }), { once: true })
    })
  }
  const joining = ['two', 'two']
  const failed = await new Promise(resolve => {
    const leader = new Leader({ url: 'http://x.test/events' }, transport, message => {
      if (message.kind === 'open') for (const name of joining.splice(0)) join(name, 'secret')
      if (message.kind === 'failed') resolve(message.members)
    })
    t.teardown(() => leader.stop())
    const join = (member: string, topic: string): void => {
      leader.join({ kind: 'join', member, topics: [topic], positions: new Map() })
    }
    join('one', 'a')
  })
  t.same(failed, ['two'])
})
