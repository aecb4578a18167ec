import t from 'tap'
import Fastify from 'fastify'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { Readable } from 'node:stream'
import { ReadableStream } from 'node:stream/web'
import { expectTypeOf } from 'expect-type'
import sse, { RESET_ID } from '../../plugin/index.ts'
import { injectSse } from '../../plugin/testing/index.ts'
import type { InjectedEvent, InjectedStream } from '../../plugin/testing/index.ts'
import type {
  AnyEvents, CloseReason, OpenableSource, SseErrorCode, SseEvent, SseItem, SseOptions,
  SsePluginOptions, SseRouteOptions, SseSource, SseStream, WireEvent
} from '../../plugin/index.ts'

interface Ticks { tick: { n: number }, message: string, done: null }

// Checked by tsc; at run time it only has to load.
t.test('types', async t => {
  const app = Fastify()
  await app.register(sse, { heartbeatMs: 1_000 })
  t.ok(app)

  expectTypeOf<SsePluginOptions>().toHaveProperty('drainMs')
  expectTypeOf<SseRouteOptions>().not.toHaveProperty('drainMs')
  expectTypeOf<SseRouteOptions>().toHaveProperty('events')
  expectTypeOf<SseOptions>().not.toHaveProperty('events')
  expectTypeOf<SseOptions['retryMs']>().toEqualTypeOf<number | false | undefined>()
  expectTypeOf<CloseReason>().toEqualTypeOf<'end' | 'client' | 'slow' | 'shutdown' | 'expired' | 'revoked' | 'error' | 'lifetime' | 'replaced'>()
  expectTypeOf<'FST_SSE_BAD_OPTION'>().toExtend<SseErrorCode>()
  expectTypeOf<FastifyRequest['lastEventId']>().toEqualTypeOf<string | undefined>()
  expectTypeOf<FastifyRequest['acceptsSse']>().toEqualTypeOf<boolean>()
  expectTypeOf(injectSse).returns.resolves.toEqualTypeOf<InjectedStream>()
  expectTypeOf<InjectedEvent>().toEqualTypeOf<{ id: string | undefined, event: string, data: string }>()
})

t.test('the overloads: with a source the result is the reply, without one the stream', async () => {
  type Untyped = FastifyReply
  const check = (reply: Untyped): void => {
    expectTypeOf(reply.sse('a')).toEqualTypeOf<Untyped>()
    expectTypeOf(reply.sse([{ id: 1, data: {} }], { retryMs: false })).toEqualTypeOf<Untyped>()
    expectTypeOf(reply.sse()).toEqualTypeOf<SseStream>()
    expectTypeOf(reply.sse(undefined, { heartbeatMs: 0 })).toEqualTypeOf<SseStream>()
    // @ts-expect-error an unknown option
    reply.sse('a', { heartBeatMs: 1 })
    // @ts-expect-error an option of the wrong type
    reply.sse('a', { slowClient: 'wait' })
  }
  expectTypeOf(check).toBeFunction()
})

t.test('only valid sources are accepted', async () => {
  expectTypeOf<string | number | boolean | null | Uint8Array | WireEvent>().toExtend<SseSource>()
  expectTypeOf<WireEvent[]>().toExtend<SseSource>()
  expectTypeOf<Set<string>>().toExtend<SseSource>()
  expectTypeOf<Generator<string>>().toExtend<SseSource>()
  expectTypeOf<AsyncGenerator<WireEvent>>().toExtend<SseSource>()
  expectTypeOf<Readable>().toExtend<SseSource>()
  expectTypeOf<ReadableStream<Uint8Array>>().toExtend<SseSource>()
  expectTypeOf<Response>().toExtend<SseSource>()
  expectTypeOf<OpenableSource>().toExtend<SseSource>()
  expectTypeOf<(stream: SseStream) => void>().toExtend<SseSource>()
  expectTypeOf<(stream: SseStream) => Promise<void>>().toExtend<SseSource>()
  expectTypeOf<(stream: SseStream) => AsyncGenerator<string>>().toExtend<SseSource>()
  expectTypeOf<() => Promise<Response>>().toExtend<SseSource>()
  expectTypeOf<{ name: string }>().not.toExtend<SseSource>()
  expectTypeOf<symbol>().not.toExtend<SseSource>()
  expectTypeOf<Promise<string>>().toExtend<SseSource>()
  expectTypeOf<Promise<symbol>>().not.toExtend<SseSource>()
  expectTypeOf<{ id: string, data: unknown, extra: number }[]>().not.toExtend<readonly SseEvent<Ticks>[]>()
})

t.test('only valid events are accepted', async () => {
  expectTypeOf<{ id: typeof RESET_ID, data: string }>().toExtend<WireEvent>()
  expectTypeOf<{ id: bigint }>().toExtend<WireEvent>()
  expectTypeOf<{ id: symbol }>().not.toExtend<WireEvent>()
  expectTypeOf<{ id: null }>().not.toExtend<WireEvent>()
  expectTypeOf<{ retry: string }>().not.toExtend<WireEvent>()
  expectTypeOf<SseEvent<AnyEvents>>().toEqualTypeOf<WireEvent>()
  // @ts-expect-error an unknown field
  const event: WireEvent = { data: 1, name: 'x' }
  expectTypeOf(event).toEqualTypeOf<WireEvent>()
})

t.test('typed events: data must match the name', async () => {
  const check = (stream: SseStream<Ticks>): void => {
    expectTypeOf(stream.push({ event: 'tick', data: { n: 1 } })).toEqualTypeOf<boolean>()
    expectTypeOf(stream.send({ id: RESET_ID, data: 'text' })).resolves.toEqualTypeOf<boolean>()
    stream.push({ event: 'message', data: 'text' })
    stream.push({ event: '', data: 'text', retry: 5 })
    stream.end({ event: 'done', data: null })
    stream.push({ retry: 5 })
    // @ts-expect-error data of another event
    stream.push({ event: 'tick', data: 'text' })
    // @ts-expect-error a name that is not declared
    stream.push({ event: 'tock', data: { n: 1 } })
    // @ts-expect-error an unnamed event is a message, whose data is a string
    stream.push({ data: { n: 1 } })
    // @ts-expect-error without data
    stream.push({ event: 'tick' })
  }
  expectTypeOf(check).toBeFunction()
  expectTypeOf<SseItem<Ticks>>().toEqualTypeOf<SseEvent<Ticks> | string>()
  expectTypeOf<string>().toExtend<SseItem<Ticks>>()
  expectTypeOf<number>().not.toExtend<SseItem<Ticks>>()
  expectTypeOf<string>().not.toExtend<SseItem<{ tick: number }>>()
})

t.test('typed events through the generic of a route', async () => {
  const app = Fastify()
  app.get<{ Sse: Ticks, Params: { id: string } }>('/typed/:id', async (request, reply) => {
    expectTypeOf(request.params.id).toEqualTypeOf<string>()
    expectTypeOf(reply.sse()).toEqualTypeOf<SseStream<Ticks>>()
    reply.sse(async function * (stream) {
      expectTypeOf(stream).toEqualTypeOf<SseStream<Ticks>>()
      yield { event: 'tick' as const, data: { n: 1 } }
      yield 'a message'
    })
    // @ts-expect-error data of another event
    reply.sse([{ event: 'tick', data: 'text' }])
    // @ts-expect-error a message is a string
    reply.sse(5)
    // @ts-expect-error a generator that yields what is not declared
    reply.sse(async function * () { yield { event: 'tock', data: 1 } })
    return reply
  })
  app.get(
    '/untyped',
    { sse: { retryMs: 1, events: { tick: { type: 'object' } } }, config: {} },
    async (request, reply) => reply.sse([{ event: 'any', data: 1 }])
  )
  app.get('/config', { config: { sse: { slowClient: 'drop' } } }, async (request, reply) => reply.sse('a'))
  // @ts-expect-error an unknown option on a route
  app.get('/wrong', { sse: { drainMs: 1 } }, async () => {})
})
