import t from 'tap'
import type { GapDetail } from '../../../plugin/client/index.ts'
import { Member } from '../../../plugin/client/tabs/member.ts'
import type { Unclear } from '../../../plugin/client/tabs/member.ts'
import { formatCursor, parseId, readPositions } from '../../../plugin/client/tabs/position.ts'
import type { ConnectionSink, Outcome, WireMessage } from '../../../plugin/client/connection/transport.ts'

/** Creates a member for these topics with this cursor, and records what its subscription receives. */
async function join (
  topics: readonly string[],
  cursor = '',
  isConfirmed = false
): Promise<{ member: Member, messages: WireMessage[], calls: string[], outcomes: (Outcome | Unclear)[] }> {
  const messages: WireMessage[] = []
  const calls: string[] = []
  const outcomes: (Outcome | Unclear)[] = []
  const sink: ConnectionSink = {
    open: () => { calls.push('open') },
    interrupted: () => {
      calls.push('interrupted')
    },
    message: message => { messages.push(message) },
    retry () {},
    chunk () {},
    comment () {},
    ready: () => undefined
  }
  const url = new URL('http://x.test/events')
  for (const topic of topics) url.searchParams.append('topic', topic)
  if (topics.length > 1) url.searchParams.set('envelope', 'true')
  const request = { url, cursor, token: undefined, tokenParameter: undefined, headers: {}, withCredentials: false }
  const start = { kind: 'start', cursor, gaps: [], isConfirmed } as const
  const member = await Member.create('me', request, start, sink, outcome => outcomes.push(outcome))
  return { member, messages, calls, outcomes }
}

const at = (id: string) => parseId(id)!
const open = { kind: 'open', positions: new Map([['a', at('1-5')], ['b', at('1-5')]]), members: ['me'] } as const
const published = (topic: string | undefined, id: string) => ({
  kind: 'published', event: { topic, id, event: 'message', data: id, lastEventId: '' }, position: parseId(id)
}) as const

t.test('messages sent before the member was admitted are ignored', async t => {
  const { member, messages, calls } = await join(['a'], '1-3')
  member.receive(published('a', '1-9'))
  member.receive({ ...open, members: ['another'] })
  member.receive({ kind: 'interrupted' })
  member.detach()
  t.same([messages, calls], [[], []])
  member.receive(open)
  t.same(calls, ['open'])
  t.match(messages, [{ event: 'stream.open', id: '1-3' }], 'its own position, not that of the stream')
  member.detach()
  t.same(calls, ['open', 'interrupted'])
})

// Regression: with the cursor, the subscription continued after the gap, which it had not received yet.
t.test('a failure of the stream before the member was admitted has no cursor', async t => {
  const { member, messages } = await join(['a'], '1-3', true)
  member.receive({ kind: 'failed', detail: { message: 'busy', willRetry: true } })
  t.match(messages, [{ id: undefined, event: 'stream.error' }])
})

t.test('each event is received once, and only those of its topics', async t => {
  const { member, messages } = await join(['a', 'c'])
  member.receive(open)
  for (const [topic, id] of [
    ['a', '1-5'], ['a', '1-6'], ['b', '1-6'], ['a', '1-6'], ['a', '1-4'], [undefined, '1-7'], ['c', 'x'], ['a', '2-1']
  ] as const) member.receive(published(topic, id))
  t.same(messages.slice(1).map(({ data }) => (JSON.parse(data) as { id: string }).id), ['1-6', 'x', '2-1'])
})

t.test('a gap is reported to the members that miss something, and `missed` only to those that miss exactly that number', async t => {
  const gap: GapDetail = { topic: 'a', reason: 'trimmed', after: '1-2', resumedAt: '1-6', missed: 3 }
  const { missed, ...uncounted } = gap
  const unread = { ...gap, after: null }
  const empty = { ...gap, resumedAt: null }
  const fromStart = { topic: 'a', reason: 'expired', after: '0-0', resumedAt: '7-1' } as const
  const cases: [string, string, GapDetail, GapDetail | undefined, string?][] = [
    ['the one whose gap it is', '1-2', gap, gap],
    ['behind it by less', '1-4', gap, uncounted],
    ['just before its end', '1-5', gap, undefined],
    ['after it', '1-7', gap, undefined],
    ['without a place', '', gap, gap],
    ['a cursor that could not be read', '1-2', unread, unread],
    ['nothing is left, and it was there', '1-2', empty, empty],
    ['nothing is left, and it had more', '1-3', empty, undefined, '1-3'],
    ['nothing is left, and it had only a part', '1-3', empty, { ...uncounted, resumedAt: null }, '1-4'],
    ['nothing is left, and it is unknown where the stream continues', '1-3', empty, { ...uncounted, resumedAt: null }],
    ['a topic that expired, before its first event', '0-0', fromStart, fromStart],
    ['of another topic', '1-2', { ...gap, topic: 'z' }, undefined]
  ]
  t.equal(missed, 3)
  for (const [name, cursor, detail, expected, end = ''] of cases) {
    const { member, messages } = await join(['a'], cursor)
    member.receive({ kind: 'open', positions: new Map(), members: ['me'] })
    member.receive({ kind: 'gap', detail, positions: new Map(parseId(end) && [['a', at(end)]]) })
    t.same(messages.slice(1).map(({ data }) => JSON.parse(data) as unknown), expected ? [expected] : [], name)
  }
})

// Regression: every event was dropped without a word, until ids had passed the cursor.
t.test('after a gap because the server does not know its cursor, a member receives what the server sends', async t => {
  const { member, messages } = await join(['a'], '9-9')
  member.receive({ kind: 'open', positions: new Map(), members: ['me'] })
  member.receive({ kind: 'gap', detail: { topic: 'a', reason: 'unknown', after: '9-9', resumedAt: '1-1' }, positions: new Map() })
  for (const id of ['1-1', '1-2']) member.receive(published('a', id))
  t.same(messages.map(({ event, id }) => [event, id]), [
    ['stream.open', '9-9'], ['stream.gap', '1-0'], ['message', '1-1'], ['message', '1-2']
  ])
})

// Regression: the position stayed, so that all events up to it were dropped, or the same gap was reported again.
t.test('after a gap that leads to no event yet, a member continues where the stream does', async t => {
  for (const [cursor, end] of [['9-9', '1-0'], ['1-2', '1-7']] as const) {
    const { member, messages } = await join(['a'], cursor)
    member.receive({ kind: 'open', positions: new Map(), members: ['me'] })
    const detail = { topic: 'a', reason: 'unknown', after: cursor, resumedAt: null } as const
    member.receive({ kind: 'gap', detail, positions: new Map([['a', at(end)]]) })
    member.receive(published('a', '1-8'))
    t.same(messages.map(({ id }) => id), [cursor, end, '1-8'])
  }
})

// Regression: every event was dropped until ids had passed the cursor.
t.test('a member that starts after the stream does asks the server, unless the server has sent its start', async t => {
  const ahead = { ...open, positions: new Map([['a', at('1-5')], ['b', at('1-6')]]) }
  const { member, messages, outcomes } = await join(['a'], '9-9')
  member.receive(ahead)
  t.same([messages, outcomes], [[], [{ kind: 'unclear' }]])
  const confirmed = await join(['a'], '9-9', true)
  confirmed.member.receive(ahead)
  t.same([confirmed.messages.length, confirmed.outcomes], [1, []])
  const later = await join(['a'], '1-5')
  later.member.receive(ahead)
  later.member.receive(published('a', '1-7'))
  later.member.receive(ahead)
  t.same(later.outcomes, [], 'the stream starts again from the position of another member')
})

// Regression: under the next leader the topic started again, without the events in between.
t.test('a topic without a position takes it from the last gap of a stream that starts with gaps', async t => {
  const { member, messages } = await join(['a', 'b'], '')
  member.receive({ kind: 'open', positions: new Map(), members: ['me'] })
  member.receive({
    kind: 'gap',
    detail: { topic: 'z', reason: 'trimmed', after: '1-1', resumedAt: '1-4' },
    positions: new Map([['b', at('1-5')]])
  })
  t.equal(messages.length, 1, 'the gap itself is of another topic')
  t.same(member.join, { kind: 'join', member: 'me', topics: ['a', 'b'], positions: new Map([['b', at('1-5')]]) })
})

// Regression: a cursor that the server does not know ended with the others, without a gap and without what is left.
t.test('when nothing remains for the members, one whose cursor only it knows asks the server', async t => {
  const finished = { kind: 'finished', members: ['me'] } as const
  const unknown = await join(['a'], '9-9')
  unknown.member.receive(finished)
  const confirmed = await join(['a'], '9-9', true)
  confirmed.member.receive(finished)
  const open = await join(['a'], '1-1')
  open.member.receive({ kind: 'open', positions: new Map(), members: ['me'] })
  open.member.receive(finished)
  const end = { kind: 'rejected', status: 204, message: '' }
  t.same([unknown, confirmed, open].map(({ outcomes }) => outcomes), [[{ kind: 'unclear' }], [end], [end]])
})

t.test('ends and failures of other members are ignored', async t => {
  const { member, messages, outcomes, calls } = await join(['a'])
  member.receive(open)
  member.receive({ kind: 'end', topic: 'b', reason: 'closed' })
  member.receive({ kind: 'finished', members: ['another'] })
  member.receive({ kind: 'failed', detail: { message: 'no', willRetry: false, status: 403 }, members: ['another'] })
  t.same([messages.length, outcomes], [1, []])
  member.receive({ kind: 'interrupted' })
  member.receive({ kind: 'expiring', detail: { expiresIn: 3 } })
  member.receive({ kind: 'failed', detail: { message: 'oops', willRetry: true } })
  t.same(calls, ['open', 'interrupted'])
  t.match(messages.slice(1), [{ event: 'stream.expiring', data: '{"expiresIn":3}' }, { event: 'stream.error' }])
  member.receive({ kind: 'failed', detail: { message: 'no', willRetry: false } })
  t.same(outcomes, [{ kind: 'rejected', status: 0, message: 'no' }])
})

t.test('cursors are parsed into positions and formatted from them', async t => {
  const tags = new Map([['a', 'tagaaa'], ['b', 'tagbbb']])
  t.same([...readPositions('tagaaars-7,tagbbb1-1', ['a', 'b'], tags)], [['a', at('1000-7')], ['b', at('1-1')]])
  t.same([...readPositions('tagaaars-7', ['a', 'b'], tags)], [['a', at('1000-7')]], 'a topic was added')
  t.same([...readPositions('tagaaars-7,tagbbb1-1', ['b'], tags)], [['b', at('1-1')]], 'a topic was removed')
  for (const cursor of ['', '1-1', 'tagaaa1', 'tagaaaR-1', 'tagccc1-1']) {
    t.same([...readPositions(cursor, ['a', 'b'], tags)], [], `"${cursor}" contains no position of these topics`)
  }
  t.same([...readPositions('1-1', ['a'], tags)], [['a', at('1-1')]])
  t.equal(formatCursor(['a', 'b'], new Map([['b', at('1000-7')]]), tags), 'tagbbbrs-7')
  t.equal(formatCursor(['a'], new Map(), tags), '')
  t.equal(formatCursor(['a'], new Map([['a', at('5-6')]]), tags), '5-6')
  t.equal(parseId('x'), undefined)
})

t.test('without SHA-256 a tab has no cursor over several topics, but still receives events', async t => {
  const { crypto } = globalThis
  Object.defineProperty(globalThis, 'crypto', { value: {}, configurable: true })
  t.teardown(() => Object.defineProperty(globalThis, 'crypto', { value: crypto, configurable: true }))
  const { member, messages } = await join(['a'])
  member.receive(open)
  member.receive(published('a', '1-6'))
  t.match(messages, [{ event: 'stream.open' }, { id: '1-6', data: '1-6' }])
})
