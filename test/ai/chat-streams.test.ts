import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import type { Test } from 'tap'
import sse from '../../plugin/index.ts'
import { createChatStreams } from '../../plugin/ai/index.ts'
import type { ChatSink, ChatStreams, RunsOptions } from '../../plugin/ai/index.ts'
import topics, { MemoryLog } from '../../plugin/topics/index.ts'
import { listen } from '../support/apps/app.ts'
import { loadSdk, textOf, Words } from '../support/apps/ai-sdk.ts'
import type { Chat, Sdk } from '../support/apps/ai-sdk.ts'
import { until } from '../support/until.ts'

interface Site {
  app: FastifyInstance
  chats: ChatStreams
  api: string
  /** The words of the current answer. */
  words: Words
  /** The signal that the model received. */
  signal: () => AbortSignal | undefined
  chat: (id: string, messages?: Chat['messages']) => Chat
  status: (path: string, method?: string) => Promise<number>
}

interface SiteOptions { mode?: 'start' | 'sink', log?: MemoryLog, options?: RunsOptions }

async function start (
  t: Test,
  sdk: Sdk,
  { mode = 'start', log = new MemoryLog(), options }: SiteOptions = {}
): Promise<Site> {
  const app = Fastify({ forceCloseConnections: true })
  t.teardown(() => app.close())
  await app.register(sse, { drainMs: 200 })
  await app.register(topics, { log })
  const chats = createChatStreams(app.topics, { batchMs: 0, ...options })
  const words = new Words()
  let given: AbortSignal | undefined
  const answer = (signal: AbortSignal) => {
    given = signal
    return sdk.streamText({ model: sdk.model(words), prompt: 'hi', abortSignal: signal }).toUIMessageStream()
  }
  app.post<{ Body: { id: string } }>('/api/chat', async ({ body: { id } }, reply) => {
    if (mode === 'start') {
      await chats.start(id, ({ signal }) => answer(signal))
      return chats.reply(reply, id)
    }
    const { signal, consumeSseStream }: ChatSink = chats.sink(id)
    return reply.send(sdk.createUIMessageStreamResponse({ stream: answer(signal), keepAliveMs: 5, consumeSseStream }))
  })
  app.get<{ Params: { id: string } }>('/api/chat/:id/stream', ({ params }, reply) => chats.resume(reply, params.id))
  app.post<{ Params: { id: string } }>(
    '/api/chat/:id/stop',
    async ({ params }) => ({ stopped: await chats.stop(params.id) })
  )
  const api = `${await listen(app)}/api/chat`
  return {
    app,
    chats,
    api,
    words,
    signal: () => given,
    chat: (id, messages) => sdk.createChat({ id, api, ...messages && { messages } }),
    status: async (path, method = 'GET') => (await fetch(api + path, { method })).status
  }
}

const asked = (chat: Chat): Chat['messages'] => chat.messages.filter(({ role }) => role === 'user')

for (const name of ['ai', 'ai6']) {
  t.test(`the SDK installed as "${name}"`, async t => {
    const sdk = await loadSdk(name)

    for (const mode of ['start', 'sink'] as const) {
      t.test(`${mode}: an answer continues when its reader leaves, and a reload picks it up`, async t => {
        const { words, chat, status } = await start(t, sdk, { mode })
        t.equal(await status('/7/stream'), 204, 'nothing was requested')
        const first = chat('7')
        const sent = first.sendMessage({ text: 'hi' })
        words.say('Hello', ' wor')
        await until(() => textOf(first) === 'Hello wor')
        const reloaded = chat('7', asked(first))
        const resumed = reloaded.resumeStream()
        const secondTab = chat('7', asked(first))
        const joined = secondTab.resumeStream()
        await until(() => textOf(reloaded) === 'Hello wor' && textOf(secondTab) === 'Hello wor')
        words.say('ld')
        words.end()
        await Promise.all([sent, resumed, joined])
        for (const each of [first, reloaded, secondTab]) {
          t.same([textOf(each), each.status, each.messages.length, each.error], ['Hello world', 'ready', 2, undefined])
        }
        await until(async () => await status('/7/stream') === 204)
        t.pass('nothing is being written any longer')
        const late = chat('7', first.messages)
        await late.resumeStream()
        t.same([textOf(late), late.status], ['Hello world', 'ready'])
      })

      t.test(`${mode}: a stop ends the answer for all readers, and aborts the model`, async t => {
        const { words, chat, status, signal } = await start(t, sdk, { mode })
        t.equal(await status('/7/stop', 'POST'), 200, 'nothing to stop')
        const first = chat('7')
        const sent = first.sendMessage({ text: 'hi' })
        words.say('Hello')
        await until(() => textOf(first) === 'Hello')
        const reloaded = chat('7', asked(first))
        const resumed = reloaded.resumeStream()
        await until(() => textOf(reloaded) === 'Hello')
        t.equal(await status('/7/stop', 'POST'), 200)
        await Promise.all([sent, resumed])
        t.same([reloaded.status, textOf(reloaded)], ['ready', 'Hello'])
        await until(() => signal()!.aborted)
        const again = chat('7', asked(first))
        await again.resumeStream()
        t.same([again.status, textOf(again)], ['ready', 'Hello'], 'what was written is still there')
      })
    }

    t.test('the next answer of a chat replaces the previous one', async t => {
      const { words, chat, chats, app } = await start(t, sdk)
      const first = chat('7')
      words.say('one')
      words.end()
      await first.sendMessage({ text: 'hi' })
      let isRead = false
      const producer = await chats.start('7', async function * () {
        yield { type: 'start', messageId: 'm2' }
        yield { type: 'text-start', id: '1' }
        yield { type: 'text-delta', id: '1', delta: 'two' }
        await until(() => isRead)
        yield { type: 'text-end', id: '1' }
      })
      const second = chat('7', first.messages)
      const resumed = second.resumeStream()
      await until(() => textOf(second) === 'two')
      await t.rejects(chats.start('7', () => ReadableStream.from([])), {
        statusCode: 409, code: 'TOPICS_PRODUCER_EXISTS'
      })
      isRead = true
      await resumed
      t.equal((await producer.done).reason, 'done')
      t.same([second.messages.length, textOf(second)], [3, 'two'])
      t.equal((await app.topics.info(chats.topicOf('7'))).count, 4)
    })

    t.test('an answer whose producer died is an error after the text so far', async t => {
      const log = new MemoryLog()
      const { chat, chats } = await start(t, sdk, { log })
      const { fence } = await log.lease(chats.topicOf('7'), {
        do: 'take', holder: 'dead', leaseMs: 1_000, takeOver: false
      })
      const chunks = [{ type: 'start' }, { type: 'text-start', id: '1' }, { type: 'text-delta', id: '1', delta: 'Hel' }]
      await log.append(
        chats.topicOf('7'),
        chunks.map(chunk => ({ event: undefined, data: JSON.stringify(chunk), retry: undefined })),
        { lease: { fence, accepted: 0 } }
      )
      const reader = chat('7')
      await reader.resumeStream()
      t.same([textOf(reader), reader.status], ['Hel', 'error'])
      const again = chat('7')
      await again.resumeStream()
      t.same([textOf(again), again.status], ['Hel', 'error'], 'also for the next client')
    })
  })
}

t.test('the routes have the headers of the protocol, and resume by Last-Event-ID', async t => {
  const { chats, api, status } = await start(t, await loadSdk('ai'))
  await (await chats.start('7', () => ReadableStream.from([{ type: 'start' }, { type: 'finish' }]))).done
  t.equal(await status('/7/stream'), 204)
  const whole = await fetch(`${api}/7/stream`, { headers: { 'last-event-id': '0-0' } })
  t.match(Object.fromEntries(whole.headers), {
    'content-type': 'text/event-stream', 'x-vercel-ai-ui-message-stream': 'v1', 'x-accel-buffering': 'no'
  })
  const text = await whole.text()
  t.match(text, /data: {"type":"start"}\n\nid: .*\ndata: {"type":"finish"}\n\ndata: \[DONE\]\n\n$/)
  const [, first] = /id: (.*)\ndata: {"type":"start"}/.exec(text) ?? []
  const rest = await (await fetch(`${api}/7/stream`, { headers: { 'last-event-id': first! } })).text()
  t.notMatch(rest, /"start"/)
  t.match(rest, /"finish"/)
})

t.test('an answer whose start has been dropped is 410', async t => {
  const { chats, status } = await start(t, await loadSdk('ai'), {
    log: new MemoryLog({ retention: [{ topics: '*', maxEvents: 2 }] })
  })
  const words = new Words()
  words.say('1', '2', '3')
  await chats.start('7', () => words)
  await until(async () => await status('/7/stream') === 410)
  words.end()
})

t.test('a sink whose chat is busy aborts the model without a rejection', async t => {
  const { chats } = await start(t, await loadSdk('ai'))
  const words = new Words()
  await chats.start('7', () => words)
  const { signal, consumeSseStream } = chats.sink('7')
  let isCancelled = false
  await consumeSseStream({ stream: new ReadableStream<string>({ cancel () { isCancelled = true } }) })
  t.ok(signal.aborted)
  t.match(signal.reason, { code: 'TOPICS_PRODUCER_EXISTS' })
  t.ok(isCancelled)
  const broken = chats.sink('7')
  await broken.consumeSseStream({ stream: new ReadableStream<string>({ cancel () { throw new Error('no') } }) })
  t.ok(broken.signal.aborted)
  words.end()
})
