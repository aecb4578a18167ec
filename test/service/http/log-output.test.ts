import { execFileSync } from 'node:child_process'
import { closeSync, constants, openSync, readFileSync, readSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import type { Test } from 'tap'
import { LogOutput } from '../../../service/http/log-output.ts'

/** Without a handler, the signal of a write beyond the file size limit ends the process. */
process.on('SIGXFSZ', () => {})

/** Limits the size of files that this process writes, as a full disk does. */
function limitFiles (bytes: number | 'unlimited'): void {
  execFileSync('prlimit', ['--pid', `${process.pid}`, `--fsize=${bytes}:unlimited`])
}

function openFile (t: Test): { fd: number, linesOf: () => Record<string, unknown>[] } {
  const file = join(t.testdir(), 'log')
  const fd = openSync(file, 'a')
  t.teardown(() => { limitFiles('unlimited'); closeSync(fd) })
  return { fd, linesOf: () => parse(readFileSync(file, 'utf8')) }
}

/** A pipe that is read only by `read`. */
function openPipe (t: Test): { fd: number, read: () => string } {
  const file = join(t.testdir(), 'pipe')
  execFileSync('mkfifo', [file])
  const fd = openSync(file, constants.O_RDWR | constants.O_NONBLOCK)
  t.teardown(() => closeSync(fd))
  const buffer = Buffer.alloc(1024 * 1024)
  return { fd, read: () => buffer.toString('utf8', 0, readSync(fd, buffer)) }
}

const parse = (text: string): Record<string, unknown>[] =>
  text.trimEnd().split('\n').map(line => JSON.parse(line) as Record<string, unknown>)

/** A line of the log of exactly this many bytes. */
const lineOf = (n: number, bytes = 100): string => `${JSON.stringify({ n, filler: '' })}\n`.replace('""', () =>
  `"${'x'.repeat(bytes - JSON.stringify({ n, filler: '' }).length - 1)}"`)

t.test('lines of a full disk are lost and reported with the next line that can be written', t => {
  const { fd, linesOf } = openFile(t)
  const output = new LogOutput(fd)
  output.write(lineOf(1))
  limitFiles(100)
  for (const n of [2, 3]) output.write(lineOf(n))
  limitFiles('unlimited')
  t.same(linesOf().length, 1)
  for (const n of [4, 5]) output.write(lineOf(n))
  const [first, report, ...rest] = linesOf()
  t.match(first, { n: 1 })
  t.match(report, {
    level: 40,
    pid: process.pid,
    lines: 2,
    reason: 'EFBIG: file too large, write',
    msg: '2 lines of the log were lost: EFBIG: file too large, write'
  })
  t.match(rest, [{ n: 4 }, { n: 5 }])
  t.end()
})

t.test('a line whose beginning was written is completed, and a report that is lost too is not forgotten', t => {
  const { fd, linesOf } = openFile(t)
  const output = new LogOutput(fd)
  limitFiles(150)
  // The second line is half written, the third one is lost.
  for (const n of [1, 2, 3]) output.write(lineOf(n))
  // Not enough for the report of the third line.
  limitFiles(200)
  output.write(lineOf(4))
  limitFiles('unlimited')
  output.write(lineOf(5))
  t.match(linesOf(), [{ n: 1 }, { n: 2 }, { lines: 2 }, { n: 5 }])
  t.end()
})

t.test('one lost line is one line', t => {
  const { fd, linesOf } = openFile(t)
  const output = new LogOutput(fd)
  limitFiles(0)
  output.write(lineOf(1))
  limitFiles('unlimited')
  output.write(lineOf(2))
  t.match(linesOf(), [{ msg: '1 line of the log was lost: EFBIG: file too large, write' }, { n: 2 }])
  t.end()
})

t.test('lines wait for a slow reader up to a limit, beyond it they are lost and reported', async t => {
  const { fd, read } = openPipe(t)
  const output = new LogOutput(fd, 10_000)
  const count = 1_000
  for (let n = 0; n < count; n++) output.write(lineOf(n))
  let text = read()
  output.write(lineOf(count))
  while (!text.includes(`"n":${count}`)) {
    await pause(1)
    try { text += read() } catch { /* nothing to read yet */ }
  }
  const lines = parse(text)
  const index = lines.findIndex(line => 'lines' in line)
  t.same(lines.slice(0, index).map(({ n }) => n), Array.from({ length: index }, (_, n) => n))
  t.match(lines.slice(index), [
    { lines: count - index, reason: 'stdout is read too slowly' },
    { n: count }
  ])
})

t.test('lines that wait are written without a further line when there is room, or once more on exit', async t => {
  const { fd, read } = openPipe(t)
  const before = process.rawListeners('exit')
  const output = new LogOutput(fd)
  const fill = (from: number): void => { for (let n = from; n < from + 700; n++) output.write(lineOf(n)) }
  const waitsFor = (text: string): boolean => text.includes('"n":699')
  fill(0)
  let text = read()
  t.notOk(waitsFor(text))
  while (!waitsFor(text)) {
    await pause(1)
    try { text += read() } catch { /* nothing to read yet */ }
  }
  fill(1_000)
  t.notMatch(read(), '"n":1699')
  const added = process.rawListeners('exit').filter(listener => !before.includes(listener)) as (() => void)[]
  t.equal(added.length, 1, 'one listener for all waits')
  added[0]!()
  t.match(read(), '"n":1699')
})
