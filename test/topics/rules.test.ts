import t from 'tap'
import { MemoryLog } from '../../plugin/topics/index.ts'
import { formatCursor, MAX_CURSOR_TOPICS, parseCursor, topicTag } from '../../plugin/topics/ids/cursor.ts'
import { compareEventIds, formatEventId, parseEventId } from '../../plugin/topics/ids/event-id.ts'
import type { EventId } from '../../plugin/topics/ids/event-id.ts'
import { LmdbLog } from '../../plugin/topics/log/lmdb/index.ts'
import { RedisLog } from '../../plugin/topics/log/redis/index.ts'
import type { TopicEnds } from '../../plugin/topics/log/topic-log.ts'
import { checkEvents, checkIdempotencyKey, checkPublishOptions } from '../../plugin/topics/new-event.ts'
import { matchesPattern } from '../../plugin/common/pattern.ts'
import { numberAfter, resume } from '../../plugin/topics/ids/resume.ts'
import { createRetention, RETENTION_DEFAULTS } from '../../plugin/topics/retention.ts'
import { checkSubscribeOptions } from '../../plugin/topics/subscription/subscribe-options.ts'
import { checkTopic, checkTopics } from '../../plugin/topics/topic-name.ts'
import { Random } from '../support/model/random.ts'

t.test('an event id is read back as it was written, and no other text is an id', async t => {
  for (const id of [{ ms: 0, n: 0 }, { ms: 1_700_000_000_000, n: 42 }, { ms: Number.MAX_SAFE_INTEGER, n: 1 }]) {
    t.same(parseEventId(formatEventId(id)), id)
  }
  for (const text of [
    '', '1', '1-', '-1', '+1-1', '01-1', '1-01', ' 1-1', '1-1 ', '1-1-1', '0x1-1', '$', '9007199254740993-1',
    '1-9007199254740993', '99999999999999999-1'
  ]) {
    t.equal(parseEventId(text), undefined, text)
  }
  t.ok(compareEventIds({ ms: 1, n: 9 }, { ms: 2, n: 1 }) < 0)
  t.ok(compareEventIds({ ms: 1, n: 2 }, { ms: 1, n: 1 }) > 0)
})

t.test('a cursor over many topics can be read back, is short, and contains only characters that browsers return unchanged', async t => {
  const random = new Random(7)
  for (let round = 0; round < 500; round++) {
    const topics = Array.from(
      { length: random.integer(2, MAX_CURSOR_TOPICS) },
      (_, at) => `topic.${at}.${random.integer(0, 1e9)}`
    ).sort()
    const positions = topics.map((): EventId => ({ ms: random.integer(0, 2e12), n: random.integer(0, 36 ** 7 - 1) }))
    const text = formatCursor(topics.map(topicTag), positions)
    const cursor = parseCursor(text)
    t.match(text, /^[A-Za-z0-9_,-]{1,1024}$/)
    if (cursor.kind !== 'vector') return t.fail(`${cursor.kind}: ${text}`)
    t.same(topics.map(topic => cursor.positions.get(topicTag(topic))), positions)
  }
})

t.test('anything other than a cursor is malformed', async t => {
  const good = formatCursor([topicTag('a'), topicTag('b')], [{ ms: 1, n: 2 }, { ms: 3, n: 4 }])
  t.equal(parseCursor(good).kind, 'vector')
  const [part] = good.split(',')
  for (const text of [
    '',
    'x',
    ',',
    '9007199254740992-1',
    '01795741494132-1',
    `${good},`,
    `,${good}`,
    `${part},${part}`,
    `${good} `,
    `${topicTag('a')}01-1`,
    `${topicTag('a')}1-zzzzzzzzzzz`,
    `${topicTag('a')}zzzzzzzzzzz-1`,
    'a'.repeat(5_000)
  ]) {
    t.equal(parseCursor(text).kind, 'malformed', text)
  }
})

// Whoever followed both got a gap and everything retained again at each reconnect: a cursor had one position for two
// topics.
t.test('two topics with the same tag are rejected on one connection, and each is accepted separately', async t => {
  t.equal(topicTag('room.t18'), topicTag('room.6erp'))
  t.throws(() => checkTopics(['room.t18', 'other', 'room.6erp']), {
    code: 'TOPICS_SAME_TAG', statusCode: 400, message: /"room.6erp" and "room.t18"/
  })
  for (const topic of ['room.t18', 'room.6erp']) t.same(checkTopics([topic, 'other']), ['other', topic])
})

t.test('the tags of topics do not change, however many topics there are', async t => {
  const before = topicTag('a')
  for (let at = 0; at < 10_001; at++) topicTag(`many.${at}`)
  t.equal(topicTag('a'), before)
})

t.test('a star matches any run of characters, any other character itself', async t => {
  for (const [pattern, topic, wanted] of [
    ['*', 'a', true], ['orders.*', 'orders.1', true], ['orders.*', 'orders.', true], ['orders.*', 'ordersX1', false],
    ['orders.*', 'my.orders.1', false],
    ['*.done', 'a.done', true], ['a*b*c', 'aXbYc', true], ['a**c', 'abc', true], ['a', 'ab', false],
    ['a+', 'aa', false], ['(a)', 'a', false],
    ['ab*bc', 'abc', false], ['a*bc*c', 'abc', false], ['a*x**b', 'aab', false], ['*', '', true]
  ] as const) t.equal(matchesPattern(pattern, topic), wanted, `${pattern} ${topic}`)
})

// Clients choose patterns when they ask for a one-time token: twelve stars in a regular expression held the process for
// ever.
t.test('a pattern of many stars is matched at once, and as defined', async t => {
  t.equal(matchesPattern(`a${'*a'.repeat(120)}*b`, 'a'.repeat(200)), false)
  const random = new Random(11)
  const text = (letters: string): string =>
    Array.from({ length: random.integer(0, 7) }, () => letters[random.integer(0, letters.length - 1)]).join('')
  for (let round = 0; round < 20_000; round++) {
    const [pattern, topic] = [text('ab*'), text('ab')]
    if (matchesPattern(pattern, topic) !== matchesByDefinition(pattern, topic)) t.fail(`${pattern} ${topic}`)
  }
})

function matchesByDefinition (pattern: string, topic: string): boolean {
  if (pattern === '') return topic === ''
  if (pattern[0] !== '*') return pattern[0] === topic[0] && matchesByDefinition(pattern.slice(1), topic.slice(1))
  return matchesByDefinition(pattern.slice(1), topic) || (topic !== '' && matchesByDefinition(pattern, topic.slice(1)))
}

t.test('the first retention rule that matches counts, and an invalid one is rejected with its range', async t => {
  const of = createRetention([{ topics: 'a.*', maxEvents: 5 }, { topics: '*', maxAgeMs: 7 }])
  t.same(of('a.1'), { ...RETENTION_DEFAULTS, maxEvents: 5 })
  t.same(of('b'), { ...RETENTION_DEFAULTS, maxAgeMs: 7 })
  t.same(createRetention()('b'), RETENTION_DEFAULTS)
  t.same(
    createRetention([{ topics: '*', maxEvents: undefined } as never])('b'),
    RETENTION_DEFAULTS,
    'an explicit undefined counts as not given'
  )
  for (const [rule, message] of [
    [{ topics: '' }, /retention\[0\]\.topics.*topic pattern/], [{ topics: 1 }, /topics/],
    [{ topics: '*', maxEvents: 0 }, /maxEvents.*1 to 100000000, saw 0/],
    [{ topics: '*', maxAgeMs: -1 }, /maxAgeMs/], [{ topics: '*', expireAfterMs: 1.5 }, /expireAfterMs/],
    [{ topics: '*', idempotencyMs: 1e15 }, /idempotencyMs/], [{ topics: '*', maxEvent: 1 }, /maxEvent".*one of/]
  ] as const) t.throws(() => createRetention([rule as never]), { code: 'TOPICS_BAD_OPTION', message })
})

t.test('topics are checked, sorted and deduplicated', async t => {
  t.same(checkTopics(['b', 'a', 'b']), ['a', 'b'])
  t.same(checkTopics('a'), ['a'])
  for (const topic of ['', ' a', 'a b', '{a}', '*', 'a\n', '.a', 'x'.repeat(201), 1, null]) {
    t.throws(() => checkTopic(topic), { code: 'TOPICS_BAD_TOPIC', statusCode: 400 })
  }
  t.throws(() => checkTopics([]), { code: 'TOPICS_BAD_TOPIC_COUNT', message: /1 to 44 topics, saw 0/ })
  t.throws(() => checkTopics(Array.from({ length: MAX_CURSOR_TOPICS + 1 }, (_, at) => `t${at}`)), {
    code: 'TOPICS_BAD_TOPIC_COUNT', message: /saw 45/
  })
})

t.test('an invalid event is rejected with its field, and in a batch with its position', async t => {
  const limits = { maxEventBytes: 100, maxBatchEvents: 3 }
  t.same(checkEvents({ data: { a: 1 }, event: 'x', retry: 5 }, limits), [{ data: '{"a":1}', event: 'x', retry: 5 }])
  for (const [event, message] of [
    [null, /object/], ['text', /object/], [{}, /"data" is missing/], [{ data: 1, id: 'x' }, /"id" is unknown/],
    [{ data: 1, event: 'stream.open' }, /begin with "stream\."/],
    [{ data: 1, event: 'a\nb' }, /CR, LF or NUL/], [{ data: 1, event: 'error' }, /"open" or "error"/],
    [{ data: 1, event: 5 }, /string/], [{ data: 1, retry: -1 }, /0 to 3600000/],
    [{ data: 'a\0b' }, /NUL/], [{ data: () => 1 }, /cannot be sent as JSON/], [
      { data: 1n }, /^event 1: field "data" cannot be sent as JSON \(.*BigInt\), saw 1n$/
    ], [{ data: Promise.resolve(1) }, /promise: await it first/]
  ] as const) {
    t.throws(() => checkEvents([{ data: 'good' }, event], limits), {
      code: 'TOPICS_BAD_EVENT', statusCode: 400, message
    })
  }
  t.throws(() => checkEvents([{ data: 'good' }, { data: 'x'.repeat(200) }], limits), {
    code: 'TOPICS_EVENT_TOO_LARGE', statusCode: 413, message: /event 1: must be at most 100 bytes/
  })
  const unbounded = { maxEventBytes: 1e9, maxBatchEvents: 100 }
  const [large] = checkEvents({ data: 'x'.repeat(16 * 1024 * 1024) }, unbounded)
  t.throws(() => checkEvents(Array.from({ length: 16 }, () => large), unbounded), {
    code: 'TOPICS_BATCH_TOO_LARGE', statusCode: 413
  })
  for (const batch of [[], [1, 2, 3, 4]]) t.throws(() => checkEvents(batch, limits), { code: 'TOPICS_BAD_BATCH' })
  for (const key of ['', 'a b', 'x'.repeat(129), 'ü', 5]) {
    t.throws(() => checkIdempotencyKey(key), { code: 'TOPICS_BAD_IDEMPOTENCY_KEY' })
  }
  t.equal(checkIdempotencyKey(undefined), undefined)
  for (const [options, message] of [
    [{ publisher: 5 }, /"publisher" must be a string, saw 5/],
    [null, /must be an object/],
    [{ idempotencykey: 'x' }, /"idempotencykey" must be one of idempotencyKey, publisher/]
  ] as const) {
    t.throws(() => checkPublishOptions(options as never), { code: 'TOPICS_BAD_OPTION', message })
  }
  t.same(checkEvents({ data: 1, id: undefined, event: undefined } as never, limits), [
    { data: '1', event: undefined, retry: undefined }
  ], 'undefined counts as not given')
})

t.test('an invalid start is rejected with its range', async t => {
  for (const options of [
    { after: 5 },
    { sinceMs: 0 },
    { sinceMs: 1e15 },
    { last: -1 },
    { last: 10_001 },
    { last: 1.5 },
    { last: 1, sinceMs: 1 },
    { afterGap: 'later' },
    { envelope: 'yes' }
  ]) {
    t.throws(() => checkSubscribeOptions(options as never), {
      code: 'TOPICS_BAD_START', statusCode: 400
    }, JSON.stringify(options))
  }
  t.same(checkSubscribeOptions({ last: 0, afterGap: 'now', envelope: true }), {
    last: 0, afterGap: 'now', envelope: true
  })
})

// Regression: with a misspelled `last` a client silently started now.
t.test('a misspelled option of a subscription or a log is rejected, and so is anything other than an object', async t => {
  t.throws(() => checkSubscribeOptions({ lst: 1 } as never), {
    code: 'TOPICS_BAD_START', message: /^"lst" must be one of after, sinceMs, last, .*final, saw an unknown option/
  })
  for (const given of [null, 'last', [1]]) {
    t.throws(() => checkSubscribeOptions(given as never), {
      code: 'TOPICS_BAD_START', message: /^"options" must be an object/
    })
    for (const Log of [MemoryLog, LmdbLog, RedisLog]) {
      t.throws(() => new Log(given as never), { code: 'TOPICS_BAD_OPTION', message: /"options" must be an object/ })
    }
  }
  for (const make of [() => new LmdbLog(undefined as never), () => new RedisLog(undefined as never)]) {
    t.throws(make, { code: 'TOPICS_BAD_OPTION', message: /"options" must be an object.*saw undefined/ })
  }
  t.throws(() => new LmdbLog({} as never), {
    code: 'TOPICS_BAD_OPTION', message: /"folder" must be the path of a folder, saw undefined/
  })
  const connection = 'redis://127.0.0.1:1'
  for (const [make, message] of [
    [() => new MemoryLog({ retentions: [] } as never), /"retentions" must be one of retention, now/],
    [() => new LmdbLog({ folder: 'x', durable: true } as never), /"durable" must be one of/],
    [() => new RedisLog({ connection, replica: 1 } as never), /"replica" must be one of/],
    [() => new MemoryLog({ retention: { maxEvents: 1 } } as never), /"retention" must be a list of rules/],
    [() => new RedisLog({ connection, retention: { maxEvents: 1 } } as never), /"retention" must be a list of rules/]
  ] as const) t.throws(make, { code: 'TOPICS_BAD_OPTION', message })
})

const id = (ms: number, n: number): EventId => ({ ms, n })
const ends = (over: Partial<TopicEnds>): TopicEnds => ({
  first: id(100, 5),
  last: id(
    200,
    9
  ),
  count: 5,
  bornMs: 10,
  forgottenMs: 0,
  expireAfterMs: 0,
  nowMs: 500,
  isClosed: false,
  skips: [],
  ...over
})

t.test('the resume rule holds, row by row', async t => {
  const skips = [{ from: id(150, 7), to: 1_000 }]
  for (const [what, cursor, over, exists, wanted] of [
    ['the entry is there', id(150, 7), {}, true, { position: id(150, 7) }],
    ['the neighbour just below the first', id(90, 4), {}, false, { position: id(90, 4) }],
    ['the last of an emptied log', id(200, 9), { first: undefined, count: 0 }, false, { position: id(200, 9) }],
    ['before the first event ever', id(0, 0), { first: id(100, 1) }, false, { position: id(100, 0) }],
    ['trimmed', id(50, 2), {}, false, { position: id(100, 4), gap: { reason: 'trimmed', missed: 2 } }],
    ['trimmed from an emptied log', id(50, 2), { first: undefined, count: 0 }, false, {
      position: id(200, 9), gap: { reason: 'trimmed', missed: 7 }
    }],
    ['another entry with this number', id(151, 7), {}, false, { position: id(100, 4), gap: { reason: 'unknown' } }],
    ['from the future', id(300, 20), {}, false, { position: id(100, 4), gap: { reason: 'unknown' } }],
    ['of an earlier life', id(5, 7), {}, false, { position: id(100, 4), gap: { reason: 'expired' } }],
    ['a forgotten topic', id(5, 7), { first: undefined, last: id(0, 0), count: 0, bornMs: 0 }, false, {
      position: id(0, 0), gap: { reason: 'expired' }
    }],
    ['lost with a failover', id(160, 9), { last: id(200, 1_000), skips }, false, {
      position: id(150, 7), gap: { reason: 'fork' }
    }],
    [
      'lost with a failover, and what both have is trimmed',
      id(160, 9),
      { first: id(190, 1_000), last: id(200, 1_002), skips },
      false,
      { position: id(150, 7), gap: { reason: 'fork' } }
    ],
    ['just before a skip whose other side is the first', id(150, 7), {
      first: id(190, 1_000), last: id(200, 1_002), skips
    }, false, { position: id(150, 7) }],
    [
      'the first entry after a skip: the entry before the skip is its neighbour',
      id(50, 2),
      { first: id(190, 1_000), last: id(200, 1_002), skips },
      false,
      { position: id(150, 7), gap: { reason: 'trimmed', missed: 5 } }
    ],
    ['a smaller number with a later time is of another topic', id(300, 2), {}, false, {
      position: id(100, 4), gap: { reason: 'unknown' }
    }],
    ['no event, then as now', id(0, 0), {
      first: undefined, last: id(0, 0), count: 0, bornMs: 0
    }, false, { position: id(0, 0) }],
    ['no event yet, and the first are trimmed', id(0, 0), {}, false, {
      position: id(100, 4), gap: { reason: 'trimmed', missed: 4 }
    }],
    [
      'no event yet, and a life of the topic came and went',
      id(0, 0),
      { first: undefined, last: id(0, 0), count: 0, bornMs: 0, forgottenMs: 5 },
      false,
      { position: id(5, 0), gap: { reason: 'expired' } }
    ],
    ['no event yet, a life came and went, and another began', id(0, 0), { first: id(10, 1), forgottenMs: 5 }, false, {
      position: id(10, 0), gap: { reason: 'expired' }
    }],
    ['no event since the life before was forgotten', id(5, 0), {
      first: id(10, 1), forgottenMs: 5
    }, false, { position: id(10, 0) }],
    ['no event since the life before was forgotten, then as now', id(5, 0), {
      first: undefined, last: id(0, 0), count: 0, bornMs: 0, forgottenMs: 5
    }, false, { position: id(5, 0) }],
    ['before the first event of this life', id(10, 0), { first: id(10, 1) }, false, { position: id(10, 0) }],
    ['before the first event of this life, which is trimmed', id(10, 0), {}, false, {
      position: id(100, 4), gap: { reason: 'trimmed', missed: 4 }
    }],
    ['before the first event of another life', id(8, 0), { first: id(10, 1), forgottenMs: 9 }, false, {
      position: id(10, 0), gap: { reason: 'expired' }
    }],
    ['trimmed over a skip', id(50, 2), { first: id(190, 1_001), last: id(200, 1_002), skips }, false, {
      position: id(190, 1_000), gap: { reason: 'trimmed', missed: 6 }
    }],
    ['an entry without a number, in a log that contradicts itself', id(50, 2), {
      first: id(50, 2), last: id(0, 0), bornMs: 0
    }, true, { position: id(0, 0), gap: { reason: 'expired' } }],
    ['an entry of an earlier life, in a log that contradicts itself', id(5, 7), { first: id(5, 7) }, true, {
      position: id(10, 0), gap: { reason: 'expired' }
    }]
  ] as const) t.same(resume(cursor, { ends: ends(over), exists }), wanted, what)
  t.equal(numberAfter(7, { skips }), 1_000)
  t.equal(numberAfter(8, { skips }), 9)
})

// Regression: from a log that contradicted itself a client received the same gap again and again, as fast as it could
// read.
t.test('the position after a gap has no gap, whatever the log says', t => {
  const random = new Random(11)
  const anyId = (): EventId => id(random.integer(0, 6), random.integer(0, 6))
  let most = 0
  for (let round = 0; round < 20_000; round++) {
    const from = anyId()
    const over = {
      first: round % 4 === 0 ? undefined : anyId(),
      last: anyId(),
      bornMs: random.integer(0, 6),
      forgottenMs: random.integer(0, 6),
      skips: round % 3 === 0 ? [{ from, to: from.n + random.integer(2, 4) }] : []
    }
    let position = anyId()
    let gaps = 0
    for (; gaps < 5; gaps++) {
      const next = resume(position, { ends: ends(over), exists: false })
      if (!next.gap) break
      position = next.position
    }
    most = Math.max(most, gaps)
  }
  t.ok(most <= 2, 'one, or two after a fork if what both have is gone')
  t.end()
})

// A slip in a name was ignored by two of the logs, and a list of rules that was none was a TypeError.
t.test('a MemoryLog rejects options that it does not know or cannot use', async t => {
  for (const [options, message] of [
    [{ retentoin: [] }, /"retentoin" must be one of retention, now, saw an unknown option/],
    [{ retention: null }, /"retention" must be a list of rules, saw null/],
    [{ now: 5 }, /"now" must be a function, saw 5/]
  ] as const) t.throws(() => new MemoryLog(options as never), { code: 'TOPICS_BAD_OPTION', message })
  t.doesNotThrow(() => new MemoryLog({ retention: undefined, now: undefined } as never))
})
