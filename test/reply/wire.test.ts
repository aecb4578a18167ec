import { runInNewContext } from 'node:vm'
import t from 'tap'
import { createParser } from 'eventsource-parser'
import type { EventSourceMessage } from 'eventsource-parser'
import { RESET_ID } from '../../plugin/index.ts'
import type { WireEvent } from '../../plugin/index.ts'
import {
  encodeComment,
  encodeEvent,
  encodeRetry,
  isWireEvent,
  joinSmall,
  MAX_ID_BYTES,
  MAX_RETRY_MS,
  PREAMBLE
} from '../../plugin/reply/wire.ts'
import type { Serializer } from '../../plugin/reply/wire.ts'
import { show } from '../../plugin/common/show.ts'
import { randomFrom, seedFrom } from '../support/random.ts'

const MANY_LINES = Array.from({ length: 20_000 }, (_, line) => `line ${line}`)
const MIB = 'x'.repeat(1024 * 1024)

// [case, event, exact text]
const encoded: [string, WireEvent, string][] = [
  ['W01 one line', { data: 'a' }, 'data: a\n\n'],
  ['W02 LF splits', { data: 'a\nb' }, 'data: a\ndata: b\n\n'],
  ['W03 CR LF splits', { data: 'a\r\nb' }, 'data: a\ndata: b\n\n'],
  ['W04 CR splits, so no field can be smuggled in', { data: 'a\revent: evil' }, 'data: a\ndata: event: evil\n\n'],
  ['W05 a trailing line end is kept', { data: 'a\n' }, 'data: a\ndata: \n\n'],
  ['W05 a lone line end is two empty lines', { data: '\n' }, 'data: \ndata: \n\n'],
  ['W06 other separators are text', { data: 'a\u2028b\u2029c\u0085d\ve\ff' }, 'data: a\u2028b\u2029c\u0085d\ve\ff\n\n'],
  ['W07 the empty string is a value', { data: '' }, 'data: \n\n'],
  ['W08 null is a value', { data: null }, 'data: null\n\n'],
  ['W09 a leading space is kept', { data: ' a' }, 'data:  a\n\n'],
  ['W09 a leading tab is kept', { data: '\ta' }, 'data: \ta\n\n'],
  ['W09 a leading no-break space is kept', { data: '\u00a0a' }, 'data: \u00a0a\n\n'],
  ['W10 what looks like a field is text', { data: 'id: 5' }, 'data: id: 5\n\n'],
  ['W10 what looks like a comment is text', { data: ':x' }, 'data: :x\n\n'],
  ['W10 what looks like data is text', { data: 'data: y' }, 'data: data: y\n\n'],
  ['W11 a byte order mark in data is kept', { data: '\ufeffa' }, 'data: \ufeffa\n\n'],
  ['W12 JSON escapes a lone surrogate', { data: { s: '\ud800' } }, 'data: {"s":"\\ud800"}\n\n'],
  ['W13 JSON escapes NUL', { data: { s: '\0' } }, 'data: {"s":"\\u0000"}\n\n'],
  ['W14 bytes are text', { data: Buffer.from('grüß\ndich') }, 'data: grüß\ndata: dich\n\n'],
  ['W14 a view on a larger buffer', { data: new Uint8Array(Buffer.from('xaby')).subarray(1, 3) }, 'data: ab\n\n'],
  ['W15 an object is JSON on one line', { data: { a: [1, 'x\ny'] } }, 'data: {"a":[1,"x\\ny"]}\n\n'],
  ['W15 zero is a value', { data: 0 }, 'data: 0\n\n'],
  ['W15 false is a value', { data: false }, 'data: false\n\n'],
  ['W16 a line of 1 MiB', { data: MIB }, `data: ${MIB}\n\n`],
  ['W16 20,000 lines', { data: MANY_LINES.join('\n') }, MANY_LINES.map(line => `data: ${line}\n`).join('') + '\n'],
  ['W17 a name stands before the data', { event: 'foo', data: 'a' }, 'event: foo\ndata: a\n\n'],
  ['W18 an empty name is none', { event: '', data: 'a' }, 'data: a\n\n'],
  ['W18 the default name is none', { event: 'message', data: 'a' }, 'data: a\n\n'],
  ['W21 a leading space in a name is kept', { event: ' foo', data: 'a' }, 'event:  foo\ndata: a\n\n'],
  ['W23 an id', { id: '1', data: 'a' }, 'id: 1\ndata: a\n\n'],
  ['W23 zero is an id', { id: 0, data: 'a' }, 'id: 0\ndata: a\n\n'],
  ['W23 a bigint is an id', { id: 9007199254740993n, data: 'a' }, 'id: 9007199254740993\ndata: a\n\n'],
  ['W24 RESET_ID clears the id', { id: RESET_ID, data: 'a' }, 'id\ndata: a\n\n'],
  ['W28 a space inside an id is kept', { id: 'a b', data: 'a' }, 'id: a b\ndata: a\n\n'],
  ['W29 an id outside ASCII', { id: 'ü-1', data: 'a' }, 'id: ü-1\ndata: a\n\n'],
  [
    'W30 an id of the greatest length',
    { id: 'ü'.repeat(MAX_ID_BYTES / 2), data: '' },
    `id: ${'ü'.repeat(MAX_ID_BYTES / 2)}\ndata: \n\n`
  ],
  [
    'W31 a cursor travels in a named event with empty data',
    { event: 'stream.open', id: '5-1', data: '' },
    'id: 5-1\nevent: stream.open\ndata: \n\n'
  ],
  ['W32 retry 0 with data', { retry: 0, data: 'a' }, 'retry: 0\ndata: a\n\n'],
  ['W32 retry alone', { retry: 3000 }, 'retry: 3000\n'],
  ['W35 the greatest retry', { retry: MAX_RETRY_MS }, 'retry: 3600000\n'],
  ['all fields', { id: 1, event: 'e', retry: 5, data: 'a' }, 'id: 1\nevent: e\nretry: 5\ndata: a\n\n'],
  ['fields that are undefined are absent', {
    id: undefined, event: undefined, retry: undefined, data: 'a'
  }, 'data: a\n\n']
]

t.test('the bytes of every event are exact, and end with its blank line (W38)', async t => {
  for (const [name, event, text] of encoded) {
    t.ok(encodeEvent(event).equals(Buffer.from(text)), name)
  }
})

t.test('W12 a lone surrogate in text becomes U+FFFD, and W39 a pair is never cut', async t => {
  t.equal(encodeEvent({ data: 'a\ud800b' }).toString('hex'), Buffer.from('data: a\ufffdb\n\n').toString('hex'))
  t.equal(encodeEvent({ data: '😀'.repeat(20_000) }).toString(), `data: ${'😀'.repeat(20_000)}\n\n`)
})

const cyclic: Record<string, unknown> = {}
cyclic['self'] = cyclic

// [case, event (unknown, because the types forbid most of them), message]
const refused: [string, unknown, RegExp][] = [
  ['W08 undefined data', { data: undefined }, /"data" is missing/],
  ['W13 NUL in text', { data: 'a\0b' }, /"data" must not contain NUL/],
  ['W13 NUL in bytes', { data: Buffer.from('a\0b') }, /"data" must not contain NUL/],
  ['W14 bytes that are not UTF-8', { data: Buffer.from([0xc3, 0x28]) }, /"data" must be valid UTF-8.*saw 2 bytes/],
  ['W15 a bigint', { data: 1n }, /"data" could not be serialized.*saw 1n/],
  ['W15 a cycle', { data: cyclic }, /"data" could not be serialized.*saw \[object Object\]/],
  ['W15 a function', { data: () => 1 }, /"data" did not serialize to a string/],
  ['W15 a symbol', { data: Symbol('x') }, /"data" did not serialize to a string/],
  ...['\r', '\n', '\0'].map(char => [
    `W19 ${JSON.stringify(char)} in a name`, { event: `a${char}b`, data: '' }, /"event" must not contain CR, LF or NUL/
  ] as [string, unknown, RegExp]),
  ['W19 a name that is no string', { event: 5, data: '' }, /"event" must be a string, saw 5/],
  ['W20 the name error', { event: 'error', data: '' }, /"event" must not be "open" or "error"/],
  ['W20 the name open', { event: 'open', data: '' }, /"event" must not be "open" or "error"/],
  ['W22 a name without data', { event: 'foo' }, /"data" is missing/],
  ['W22 a name with retry, without data', { event: 'foo', retry: 1 }, /"data" is missing/],
  ['W24 an empty id', { id: '', data: '' }, /"id" must not be empty: pass RESET_ID/],
  ...Array.from({ length: 33 }, (_, code) => String.fromCharCode(code === 32 ? 0x7f : code))
    .map(char => [
      `W25-W27 ${JSON.stringify(char)} in an id`, { id: `a${char}b`, data: '' }, /"id" must not contain control bytes/
    ] as [string, unknown, RegExp]),
  ...[' a', 'a ', '\ta', 'a\t'].map(id => [
    `W28 the id ${JSON.stringify(id)}`, { id, data: '' }, /"id" must not contain control bytes, nor begin or end/
  ] as [string, unknown, RegExp]),
  [
    'W30 an id that is too long', { id: 'ü'.repeat(513), data: '' }, /"id" must be at most 1024 bytes, saw "1026 bytes"/
  ],
  ['W31 an id alone', { id: 1 }, /"data" is missing/],
  ['an id that is NaN', { id: NaN, data: '' }, /"id" must be a finite number, saw "NaN"/],
  ['an id of another type', { id: {}, data: '' }, /"id" must be a string, a number or a bigint/],
  ['an id that is null', { id: null, data: '' }, /"id" must be a string, a number or a bigint, saw null/],
  ...[-1, 1.5, 1e21, NaN, Infinity, MAX_RETRY_MS + 1, '', '100', null].map(retry => [
    `W33-W35 retry ${String(retry)}`, { retry, data: '' }, /"retry" must be an integer from 0 to 3600000/
  ] as [string, unknown, RegExp]),
  ['an unknown field', { data: '', name: 'x' }, /"name" is unknown: an event is \{ id\?, event\?, data\?, retry\? \}/],
  ['null', null, /^an event must be an object/],
  ['a string', 'a', /^an event must be an object/]
]

t.test('invalid fields throw an error that names the field', async t => {
  for (const [name, event, message] of refused) {
    t.throws(() => encodeEvent(event as WireEvent), { code: 'FST_SSE_BAD_EVENT', statusCode: 500, message }, name)
  }
})

t.test('an inherited field counts as a field, so that nothing unknown is silently dropped', async t => {
  t.throws(() => encodeEvent(Object.create({ name: 'x' }) as WireEvent), { code: 'FST_SSE_BAD_EVENT' })
})

t.test('a serializer returns the text, and its error is kept as the cause', async t => {
  const upper: Serializer = data => String(data).toUpperCase()
  t.equal(encodeEvent({ data: 'a\nb' }, upper).toString(), 'data: A\ndata: B\n\n')
  t.equal(encodeEvent({ data: Buffer.from('a') }, upper).toString(), 'data: a\n\n', 'the serializer is not called for bytes')
  const cause = new Error('first line\nsecond line')
  t.throws(() => encodeEvent({ data: 1 }, () => { throw cause }), {
    message: /serialized \(first line\), saw 1/, cause
  })
  // eslint-disable-next-line no-throw-literal -- anything can be thrown
  t.throws(() => encodeEvent({ data: 1 }, () => { throw 'no error' }), { message: /serialized \(no error\)/ })
})

// Regression: `instanceof Uint8Array` is false for them, so they were written as {"0":104,"1":105}.
t.test('bytes of another realm are treated as bytes', async t => {
  const bytes: unknown = runInNewContext('new Uint8Array([104, 105])')
  t.equal(encodeEvent({ data: bytes }).toString(), 'data: hi\n\n')
  t.equal(show(bytes), '2 bytes')
})

t.test('W36 a comment is prefixed on every line, W37 the preamble is an empty one', async t => {
  const comment = (text: string): string => encodeComment(text).bytes.toString()
  t.equal(comment('a\nb\r\nc\rd'), ': a\n: b\n: c\n: d\n')
  t.equal(comment(''), ':\n')
  t.equal(comment('data: x\n\ndata: y'), ': data: x\n:\n: data: y\n')
  t.equal(PREAMBLE.toString(), ':\n')
  t.same(encodeRetry(5), { bytes: Buffer.from('retry: 5\n'), events: 0 })
  t.throws(() => encodeRetry(-1), { code: 'FST_SSE_BAD_EVENT' })
})

t.test('an event is distinguished from other objects by its fields', async t => {
  for (const event of [{ data: 1 }, { id: 1, data: 1 }, { retry: 1 }]) t.ok(isWireEvent(event))
  for (const other of [{}, { data: 1, other: 2 }, [], null, 'data', Buffer.from('data'), 5]) t.notOk(isWireEvent(other))
})

t.test('a value is shown in a message in short form and on one line', async t => {
  const shown: [unknown, string][] = [[1n, '1n'], [undefined, 'undefined'], [() => {}, 'a function'], [
    function named () {}, 'a function named'
  ],
  ['a\nb', '"a\\nb"'], [cyclic, '[object Object]'], [new Uint8Array(3), '3 bytes'],
  ['x'.repeat(100), `"${'x'.repeat(79)}… (102 characters)`]]
  for (const [value, text] of shown) t.equal(show(value), text)
})

const EVENTS = 100_000
const ALPHABET = [
  'a', 'B', '0', ' ', '\t', ':', '\n', '\r', '\r\n', 'data: ', 'id: 1', 'é', '€', '😀', '\u2028', '\u0085', '\ufeff',
  '\ufffd'
]

t.test('100,000 random events are read back unchanged by a parser, however they are split (SSE_SEED reruns a seed)', async t => {
  const seed = seedFrom('SSE_SEED')
  t.comment(`SSE_SEED=${seed}`)
  const random = randomFrom(seed)
  const text = (max: number, chars: string[]): string =>
    Array.from({ length: random(max) }, () => chars[random(chars.length)]).join('')
  const seen: EventSourceMessage[] = []
  let seenRetry: number | undefined
  const parser = createParser({
    onEvent: event => { seen.push(event) }, onRetry: ms => { seenRetry = ms }, onError: error => { throw error }
  })
  const decoder = new TextDecoder()
  const feed = (bytes: Buffer): void => {
    for (let at = 0; at < bytes.length;) {
      const end = at + 1 + random(16)
      parser.feed(decoder.decode(bytes.subarray(at, end), { stream: true }))
      at = end
    }
  }
  const inline = ALPHABET.filter(char => !/[\r\n]/.test(char))
  let failed: unknown
  for (let n = 0; n < EVENTS && failed === undefined; n++) {
    const data = text(8, ALPHABET)
    const id = random(2) === 0 ? undefined : `i${text(4, inline.filter(char => char !== '\t'))}i`
    const event = random(2) === 0 ? undefined : `e${text(4, inline)}`
    const retry = random(4) === 0 ? random(MAX_RETRY_MS) : undefined
    seen.length = 0
    seenRetry = undefined
    feed(encodeEvent({ id, event, data, retry }))
    const wanted = { id, event, data: data.replace(/\r\n?/g, '\n'), retry }
    const got = { ...seen[0], retry: seenRetry }
    if (seen.length !== 1 || got.id !== id || got.event !== event || got.data !== wanted.data || got.retry !== retry) {
      failed = { n, wanted, seen }
    }
  }
  t.equal(failed, undefined, `seed ${seed}`)
})

t.test('what is pending at the first write is joined if it is small, and passed on without a copy if it is large', async t => {
  const [a, b, c] = ['a', 'b', 'c'].map(text => Buffer.from(text))
  const large = Buffer.alloc(5_000, 'x')
  const joined = joinSmall([a!, b!, large, large, c!], 4096)
  t.same(joined.map(bytes => bytes.toString()), ['ab', large.toString(), large.toString(), 'c'])
  t.equal(joined[1], large)
  t.same(joinSmall([large], 4096), [large])
})
