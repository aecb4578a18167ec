import { randomUUID } from 'node:crypto'
import { text } from 'node:stream/consumers'
import t from 'tap'
import type { Test } from 'tap'
import { createResumableStreamContext } from '../../plugin/ai/index.ts'
import type { ResumableStreamContext } from '../../plugin/ai/index.ts'
import { MemoryLog } from '../../plugin/topics/index.ts'
import type { TopicLog } from '../../plugin/topics/index.ts'
import { RedisLog } from '../../plugin/topics/log/redis/index.ts'
import { Words } from '../support/apps/ai-sdk.ts'
import { RedisServer } from '../support/redis/redis-server.ts'
import { abandon, startTopics } from '../support/apps/topics-only.ts'

// Tests the contract that the package `resumable-stream` documents, with two instances: one writes, both read.

type MakeLog = () => TopicLog

const LOGS: Record<string, (t: Test) => Promise<MakeLog>> = {
  memory: async () => {
    const log = new MemoryLog()
    return () => log
  },
  Redis: async t => {
    const { url } = await RedisServer.start(t)
    const prefix = `${randomUUID()}:`
    return () => new RedisLog({ connection: url, prefix, commandTimeoutMs: 60_000 })
  }
}

async function contexts (t: Test, makeLog: MakeLog): Promise<[ResumableStreamContext, ResumableStreamContext]> {
  const make = async (): Promise<ResumableStreamContext> => {
    const { topics } = await startTopics(t, makeLog())
    return createResumableStreamContext({ topics, keyPrefix: `${randomUUID()}/`, batchMs: 1 })
  }
  const first = await make()
  return [first, first]
}

/** Reads from a stream until it has yielded this many characters. */
async function readUntil (stream: ReadableStream<string> | null | undefined, length: number): Promise<string> {
  let read = ''
  const reader = stream!.getReader()
  while (read.length < length) read += (await reader.read()).value ?? ''
  reader.releaseLock()
  return read
}

for (const [name, prepare] of Object.entries(LOGS)) {
  t.test(name, async t => {
    const makeLog = await prepare(t)

    t.test('the first caller creates the stream, the others join it from its start', async t => {
      const [one, other] = await contexts(t, makeLog)
      const words = new Words()
      let made = 0
      const make = (): Words => { made++; return words }
      t.equal(await one.hasExistingStream('s'), null)
      const first = await one.resumableStream('s', make)
      words.say('one ', 'two ')
      t.equal(await readUntil(first, 8), 'one two ')
      t.equal(await other.hasExistingStream('s'), true)
      const second = await other.resumableStream('s', make)
      const third = await other.resumeExistingStream('s')
      t.equal(await readUntil(second, 8), 'one two ')
      words.say('three')
      words.end()
      t.equal(await text(first!), 'three')
      t.equal(await text(second!), 'three')
      t.equal(await text(third!), 'one two three')
      t.equal(made, 1)
    })

    t.test('a completed stream is DONE, and null', async t => {
      const [one] = await contexts(t, makeLog)
      t.equal(await text((await one.createNewResumableStream('s', () => ReadableStream.from(['a'])))), 'a')
      t.equal(await one.hasExistingStream('s'), 'DONE')
      t.equal(await one.resumeExistingStream('s'), null)
      t.equal(await one.resumableStream('s', () => ReadableStream.from(['b'])), null)
      t.equal(await one.resumeExistingStream('other'), undefined)
      t.equal(await one.hasExistingStream('other'), null)
    })

    t.test('characters are skipped across chunks', async t => {
      const [one] = await contexts(t, makeLog)
      const words = new Words()
      await one.createNewResumableStream('s', () => words)
      words.say('ab', '', 'cde', 'f')
      for (const [skip, rest] of [
        [0, 'abcdef'], [1, 'bcdef'], [2, 'cdef'], [4, 'ef'], [6, ''], [-1, 'abcdef'], [NaN, 'abcdef']
      ] as const) {
        t.equal(await readUntil(await one.resumeExistingStream('s', skip), rest.length), rest, `${skip}`)
      }
      words.end()
      t.equal(await text((await one.createNewResumableStream('t', () => ReadableStream.from(['abc', 'def']), 4))), 'ef')
    })

    t.test('text is preserved byte for byte, including text that no event can contain and characters that are split', async t => {
      const [one] = await contexts(t, makeLog)
      const chunks = ['data: a\r\n', '\0', '\ud83d', '\ude00', 'event: x\n\n', '  ']
      t.same(await readUntil(
        await one.createNewResumableStream('s', () => ReadableStream.from(chunks)),
        chunks.join('').length
      ), chunks.join(''))
    })

    t.test('the stream continues without readers, and is replaced only when it has ended', async t => {
      const [one] = await contexts(t, makeLog)
      const words = new Words()
      const first = await one.createNewResumableStream('s', () => words)
      await first.cancel()
      await t.rejects(one.createNewResumableStream('s', () => words), { code: 'TOPICS_PRODUCER_EXISTS' })
      words.say('a')
      t.equal(await readUntil(await one.resumeExistingStream('s'), 1), 'a')
      words.end()
      await text((await one.resumeExistingStream('s')) ?? ReadableStream.from([]))
      t.equal(await text(await one.createNewResumableStream('s', () => ReadableStream.from(['new']))), 'new')
    })

    t.test('a stop ends the stream for all readers, and its source is released', async t => {
      const [one] = await contexts(t, makeLog)
      const words = new Words()
      const stream = await one.createNewResumableStream('s', () => words)
      words.say('a')
      t.equal(await readUntil(stream, 1), 'a')
      t.equal(await one.stopExistingStream('s'), true)
      t.equal(await text(stream), '')
      t.equal(await one.stopExistingStream('s'), false)
      t.equal(await one.hasExistingStream('s'), true, 'a part of the text is available')
      t.equal(await text((await one.resumeExistingStream('s'))!), 'a')
    })

    t.test('a stream that cannot be created is an error for its readers', async t => {
      const [one] = await contexts(t, makeLog)
      const failing = (): ReadableStream<string> => { throw Object.assign(new Error('no model'), { statusCode: 400 }) }
      await t.rejects(text(await one.createNewResumableStream('s', failing)), {
        code: 'AI_STREAM_INCOMPLETE', message: /no model/
      })
      const [bad] = await contexts(t, makeLog)
      await t.rejects(bad.resumableStream('no name', () => ReadableStream.from([])), { code: 'TOPICS_BAD_TOPIC' })
    })
  })
}

t.test('the text outlives its producer, and its readers receive an error when the producer dies', async t => {
  const log = new MemoryLog()
  const { topics } = await startTopics(t, log)
  await abandon(log, 'resumable-stream/s', ['"a"', '"b"'])
  const context = createResumableStreamContext({ topics })
  const stream = (await context.resumeExistingStream('s'))!
  t.equal(await readUntil(stream, 2), 'ab')
  await t.rejects(text(stream), { code: 'AI_STREAM_INCOMPLETE', message: /its producer is gone/ })
})

t.test('a stream whose start has been dropped is an error, not a partial text', async t => {
  const { topics } = await startTopics(t, new MemoryLog({ retention: [{ topics: '*', maxEvents: 2 }] }))
  const context = createResumableStreamContext({ topics, batchMs: 0 })
  const words = new Words()
  words.say('a')
  const stream = await context.createNewResumableStream('s', () => words)
  t.equal(await readUntil(stream, 1), 'a')
  words.say('b', 'c')
  t.equal(await readUntil(stream, 2), 'bc')
  await t.rejects(context.resumeExistingStream('s'), { code: 'AI_STREAM_INCOMPLETE', message: /its beginning is gone/ })
  words.end()
})

t.test('waitUntil receives the end of the stream', async t => {
  const { topics } = await startTopics(t)
  const waited: Array<Promise<unknown>> = []
  const context = createResumableStreamContext({ topics, waitUntil: promise => { waited.push(promise) } })
  await context.createNewResumableStream('s', () => ReadableStream.from(['a']))
  t.match(await waited[0], { reason: 'done' })
  await createResumableStreamContext({ topics, waitUntil: null }).createNewResumableStream(
    't',
    () => ReadableStream.from(['a'])
  )
  t.equal(waited.length, 1)
})
