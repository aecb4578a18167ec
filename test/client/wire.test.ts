import t from 'tap'
import type { Test } from 'tap'
import { fetchTransport, subscribe } from '../../plugin/client/index.ts'
import type { Published } from '../../plugin/client/index.ts'

type Seen = Pick<Published, 'event' | 'data' | 'lastEventId'>

/** A fetch whose response consists of these chunks, each read separately, and then stays open. */
function answering (chunks: readonly Uint8Array[], onDrained: () => void, type = 'text/event-stream'): typeof fetch {
  const rest = [...chunks]
  return async () => new Response(new ReadableStream({
    pull (controller) {
      const chunk = rest.shift()
      if (chunk) return controller.enqueue(chunk)
      setImmediate(onDrained)
      return new Promise(() => {})
    }
  }, { highWaterMark: 0 }), { headers: { 'content-type': type } })
}

/** What is received from these chunks while the stream stays open. */
async function receive (t: Test, ...chunks: (string | Uint8Array)[]): Promise<Seen[]> {
  return receiveAll(t, chunks)
}

async function receiveAll (t: Test, chunks: readonly (string | Uint8Array)[]): Promise<Seen[]> {
  const seen: Seen[] = []
  await new Promise<void>(resolve => {
    const bytes = chunks.map(chunk => Buffer.from(chunk as string))
    const subscription = subscribe({ url: 'http://stream.test/', transport: fetchTransport(answering(bytes, resolve)) })
    t.teardown(() => subscription.close())
    for (const name of ['message', 'x', 'gap', 'event:gap']) {
      subscription.addEventListener(name, event => {
        if ('lastEventId' in event) {
          seen.push({ event: event.event, data: event.data as string, lastEventId: event.lastEventId })
        }
      })
    }
  })
  return seen
}

const datas = async (t: Test, ...chunks: (string | Uint8Array)[]): Promise<string[]> =>
  (await receive(t, ...chunks)).map(({ data }) => data)
const bytewise = (text: string | Uint8Array): Uint8Array[] =>
  [...Buffer.from(text as string)].map(byte => Uint8Array.of(byte))

t.test('P01: each kind of line break ends one line, also where a chunk ends within CR LF', async t => {
  for (const end of ['\n', '\r\n', '\r']) {
    const text = ['data: a', 'data: b', '', 'event: x', 'data: c', '', ''].join(end)
    t.same(await datas(t, text), ['a\nb', 'c'], JSON.stringify(end))
    t.same(await datas(t, ...bytewise(text)), ['a\nb', 'c'], `${JSON.stringify(end)} byte by byte`)
  }
  t.same(await datas(t, 'data: a\rdata: b\n\r\ndata: c\r\n\r\r'), ['a\nb', 'c'], 'mixed')
  t.same(await datas(t, 'data: a\r', '\ndata: b\r', '\n', '\r', '\n'), ['a\nb'])
})

t.test('P02: an event that ends with CR CR is dispatched at once, without waiting for the next byte', async t => {
  t.same(await datas(t, 'data: a\r\r'), ['a'])
  t.same(await datas(t, 'data: a\r', '\r', '\ndata: b\r\r'), ['a', 'b'])
})

t.test('P03: characters and a byte order mark that are split between chunks are joined', async t => {
  t.same(await datas(t, ...bytewise('\uFEFFdata: ä🎈\n\n')), ['ä🎈'])
})

t.test('P04: each invalid byte becomes U+FFFD, and an overlong line feed ends no line', async t => {
  for (const bytes of [[0xFF], [0xC3, 0x28], [0xED, 0xA0, 0x80], [0xC0, 0x8A]]) {
    const [data] = await datas(t, Buffer.concat([Buffer.from('data: '), Buffer.from(bytes), Buffer.from('!\n\n')]))
    t.equal(data, `${new TextDecoder().decode(Uint8Array.from(bytes))}!`)
    t.match(data, '\uFFFD')
  }
})

t.test('P05: of two byte order marks the second is part of an unknown field', async t => {
  t.same(await datas(t, '\uFEFF\uFEFFdata: lost\n\ndata: b\n\n'), ['b'])
})

t.test('P06: data may be empty, and a line without a colon is a field without a value', async t => {
  t.same(await datas(t, 'data\n\ndata:\n\ndata\ndata\n\n'), ['', '', '\n'])
})

t.test('P07: fields that are not spelled exactly are ignored', async t => {
  for (const line of [' data: x', 'data : x', 'DATA: x', 'foo: x', ': x']) {
    t.same(await datas(t, `${line}\n\ndata: b\n\n`), ['b'], line)
  }
})

t.test('P08: an event without an id keeps the last one', async t => {
  t.same(await receive(t, 'id: 1\ndata: a\n\ndata: b\n\n'), [
    { event: 'message', data: 'a', lastEventId: '1' }, { event: 'message', data: 'b', lastEventId: '1' }
  ])
})

t.test('P09: an empty id resets it, and an id with NUL is ignored', async t => {
  const seen = await receive(
    t,
    'id: 1\ndata: a\n\nid\ndata: b\n\nid: 2\ndata: c\n\nid: 3\0\ndata: d\n\nid:\ndata: e\n\n'
  )
  t.same(seen.map(({ lastEventId }) => lastEventId), ['1', '', '2', '2', ''])
})

t.test('P10: of several event and id fields in one block the last counts', async t => {
  t.same(await receive(t, 'event: y\nevent: x\nid: 1\nid: 2\ndata: a\ndata: b\n\n'), [
    { event: 'x', data: 'a\nb', lastEventId: '2' }
  ])
})

t.test('P11: a block that was cut off is not dispatched, and its id is not kept', async t => {
  t.same(await receive(t, 'id: 1\ndata: a\n\nid: 2\ndata: b\n'), [{ event: 'message', data: 'a', lastEventId: '1' }])
})

t.test('comments, and blocks without data, dispatch nothing', async t => {
  t.same(await datas(t, ':\nretry: 3000\n\n: x\n\nevent: x\n\nid: 7\n\ndata: a\n\n'), ['a'])
})

t.test('a published event with the name of a control event is dispatched under another one', async t => {
  t.same(await receive(t, 'event: gap\ndata: a\n\n'), [{ event: 'gap', data: 'a', lastEventId: '' }])
})

// Regression: the parser joined its data with each new chunk, so the work was quadratic in the length.
t.test('one event of a megabyte can be received in chunks of a few bytes', async t => {
  const data = 'x'.repeat(1_000_000)
  const bytes = Buffer.from(`data: ${data}\n\n`)
  const chunks = Array.from({ length: Math.ceil(bytes.length / 16) }, (_, at) => bytes.subarray(at * 16, at * 16 + 16))
  t.ok((await receiveAll(t, chunks))[0]?.data === data)
})

t.test('P12: only the content type text/event-stream is accepted', async t => {
  for (const type of [
    'text/event-stream', 'text/event-stream;charset=utf-8', 'text/event-stream; charset=windows-1252',
    'Text/Event-Stream ; a=b'
  ]) {
    t.equal((await outcomeOf(type)).kind, 'open', type)
  }
  for (const type of ['text/html', 'text/event-stream2', 'application/json', '']) {
    t.match(await outcomeOf(type), {
      kind: 'error',
      detail: { status: 200, willRetry: false, message: `expected content-type text/event-stream, saw "${type}"` }
    }, type)
  }
})

function outcomeOf (type: string): Promise<{ kind: string, detail?: unknown }> {
  return new Promise(resolve => {
    const subscription = subscribe({
      url: 'http://stream.test/', transport: fetchTransport(answering([], () => {}, type))
    })
    subscription.addEventListener('state', ({ detail }) => {
      if (detail.state === 'open') { subscription.close(); resolve({ kind: 'open' }) }
    })
    subscription.addEventListener('error', ({ detail }) => { subscription.close(); resolve({ kind: 'error', detail }) })
  })
}
