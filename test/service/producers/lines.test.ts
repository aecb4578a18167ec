import t from 'tap'
import { LineSplitter } from '../../../service/producers/lines.ts'
import type { Line } from '../../../service/producers/lines.ts'

const splitter = (maxBytes: number, breaksAtCr = false): LineSplitter =>
  new LineSplitter({ maxBytes, limitName: 'LIMIT', breaksAtCr })

/** The lines of a body that arrives in these chunks. */
function split (lines: LineSplitter, ...chunks: Buffer[]): Line[] {
  return [...chunks.flatMap(chunk => [...lines.add(chunk)]), ...lines.end()]
}

const texts = (lines: Line[]): string[] => lines.map(({ text }) => text)

t.test('lines are the same however the body is split into chunks', async t => {
  const body = Buffer.from('one\r\n\n€uro\r\rtwo\nlast')
  const whole = split(splitter(100), body)
  t.same(texts(whole), ['one', '', '€uro\r\rtwo', 'last'])
  t.same(whole.map(({ number }) => number), [1, 2, 3, 4])
  t.equal(whole.reduce((sum, { bytes }) => sum + bytes, 0), body.length)
  t.same(split(splitter(100), ...Array.from(body, byte => Buffer.of(byte))), whole)
})

t.test('in an event stream CR, LF and CR LF end a line, however the body is split into chunks', async t => {
  const body = Buffer.from('one\r\n\n€uro\r\rtwo\r\n\r\nthree\n\rlast')
  const whole = split(splitter(100, true), body)
  t.same(texts(whole), ['one', '', '€uro', '', 'two', '', 'three', '', 'last'])
  t.same(texts(split(splitter(100, true), ...Array.from(body, byte => Buffer.of(byte)))), texts(whole))
  t.equal(whole.reduce((sum, { bytes }) => sum + bytes, 0), body.length)
})

t.test('a line may have as many bytes as the limit allows, whichever line break follows', async t => {
  for (const end of ['', '\n', '\r\n']) {
    t.same(texts(split(splitter(4), Buffer.from(`1234${end}`))), ['1234'])
    const tooLong = { code: 'SERVICE_LINE_TOO_LONG', message: /LIMIT/ }
    t.throws(() => split(splitter(4), Buffer.from(`12345${end}`)), tooLong, 'one byte more')
    t.throws(() => split(splitter(4), Buffer.from(`123456789${end}`)), tooLong, 'many more')
  }
})

t.test('lines after a very long one are complete', async t => {
  const long = 'x'.repeat(100_000)
  t.same(texts(split(splitter(200_000), Buffer.from(`${long}\n`), Buffer.from('a\nb'))), [
    long, 'a', 'b'
  ])
})

t.test('a line that is not UTF-8 is reported with its number', async t => {
  const body = Buffer.concat([Buffer.from('ok\n'), Buffer.of(0xff, 0x0a)])
  t.throws(() => split(splitter(100), body), { code: 'SERVICE_BAD_LINE', message: /2/ })
})
