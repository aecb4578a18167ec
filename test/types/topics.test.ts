import t from 'tap'
import Fastify from 'fastify'
import type { FastifyReply } from 'fastify'
import { expectTypeOf } from 'expect-type'
import sse from '../../plugin/index.ts'
import type { OpenableSource, SseSource, SseStream } from '../../plugin/index.ts'
import topics, { MemoryLog } from '../../plugin/topics/index.ts'
import type {
  Published,
  PublishEvent,
  SubscriptionItem,
  TopicSource,
  TopicSubscription
} from '../../plugin/topics/index.ts'

interface Prices { price: { symbol: string, cents: number }, halted: null }
interface Notes { message: string }
interface Orders { order: number }
// Not an interface: a type alias has an implicit index signature.
type Alias = { order: number }

// Checked by tsc; at run time it only has to load.
t.test('topics without types accept any event, and the subscription can be used in every route', async () => {
  const app = Fastify()
  const check = (): void => {
    expectTypeOf(app.topics.publish('news', { data: 1 })).resolves.toEqualTypeOf<Published>()
    void app.topics.publish('news', [{ event: 'any', data: { a: 1 } }, { data: 'text', retry: 5 }])
    // @ts-expect-error without data
    void app.topics.publish('news', { event: 'any' })
    // @ts-expect-error an unknown field
    void app.topics.publish('news', { data: 1, name: 'any' })
    expectTypeOf(app.topics.subscribe('news')).toEqualTypeOf<TopicSubscription>()
    expectTypeOf(app.topics.subscribe('news')).toExtend<TopicSource>()
    void (async () => {
      for await (const item of app.topics.subscribe('news', { signal: new AbortController().signal })) {
        expectTypeOf(item).toEqualTypeOf<SubscriptionItem>()
        expectTypeOf(item.cursor).toEqualTypeOf<string>()
        if (item.kind === 'event') expectTypeOf(item.data).toEqualTypeOf<string>()
        if (item.kind === 'gap') expectTypeOf(item.missed).toEqualTypeOf<number | undefined>()
        // @ts-expect-error an end has no data
        if (item.kind === 'end') void item.data
      }
    })
  }
  expectTypeOf(check).toBeFunction()
  app.get('/untyped', (request, reply) => reply.sse(app.topics.subscribe('news')))
  // Regression: this did not compile: a subscription was a source of any events, which a typed route rejected.
  app.get<{ Sse: Prices }>('/typed', (request, reply) => {
    const given = app.topics.subscribe(['prices/eur', 'prices/usd'], { last: 1 })
    expectTypeOf(reply.sse(given)).toEqualTypeOf<typeof reply>()
    expectTypeOf(reply.sse(() => app.topics.subscribe('prices/eur'))).toEqualTypeOf<typeof reply>()
    expectTypeOf(reply.sse(Promise.resolve(given))).toEqualTypeOf<typeof reply>()
    return reply.sse(app.topics.subscribe('prices/eur'))
  })
})

t.test('typed topics: published events match the map, and the subscription matches its route', async () => {
  const app = Fastify()
  const check = (): void => {
    void app.topics.publish<Prices>('prices/eur', { event: 'price', data: { symbol: 'EUR', cents: 1 } })
    void app.topics.publish<Prices>('prices/eur', [{ event: 'halted', data: null, retry: 5 }], { idempotencyKey: 'a' })
    void app.topics.publish<Notes>('notes', { data: 'an event without a name is a message' })
    // @ts-expect-error data of another event
    void app.topics.publish<Prices>('prices/eur', { event: 'price', data: null })
    // @ts-expect-error a name that is not declared
    void app.topics.publish<Prices>('prices/eur', { event: 'prise', data: null })
    // @ts-expect-error one of a batch
    void app.topics.publish<Prices>('prices/eur', [{ event: 'halted', data: null }, { event: 'halted', data: 1 }])
    // @ts-expect-error an event without a name is a message, and none is declared
    void app.topics.publish<Prices>('prices/eur', { data: null })
    expectTypeOf(app.topics.subscribe<Prices>('prices/eur')).toEqualTypeOf<TopicSubscription<Prices>>()
  }
  expectTypeOf(check).toBeFunction()
  expectTypeOf<PublishEvent<Orders>>().toExtend<PublishEvent>()
  expectTypeOf<TopicSource<Prices>>().toExtend<SseSource<Prices>>()
  expectTypeOf<TopicSource<Orders>>().not.toExtend<SseSource<Prices>>()
  expectTypeOf<TopicSource<Alias>>().not.toExtend<SseSource<Prices>>()
  expectTypeOf<TopicSource<Alias>>().toExtend<SseSource>()
  app.get<{ Sse: Prices }>('/typed', (request, reply) => {
    // @ts-expect-error a subscription with other types than the route
    reply.sse(app.topics.subscribe<Orders>('orders'))
    return reply.sse(app.topics.subscribe<Prices>('prices/eur'))
  })
  app.get('/untyped', (request, reply) => reply.sse(app.topics.subscribe<Prices>('prices/eur')))
})

t.test('an object with open: in a typed route its stream has the types of the route', async () => {
  const app = Fastify()
  const untyped: OpenableSource = { open: stream => () => { stream.push({ event: 'anything', data: 1 }) } }
  app.get<{ Sse: Prices }>('/', (request, reply) => {
    reply.sse(untyped)
    return reply.sse({
      open (stream) {
        expectTypeOf(stream.isOpen).toEqualTypeOf<boolean>()
        stream.push({ event: 'price', data: { symbol: 'EUR', cents: 1 } })
        // @ts-expect-error data of another event
        stream.push({ event: 'price', data: 1 })
        return undefined
      }
    })
  })
})

t.test('the result of reply.sse() depends on the source only', async t => {
  const app = Fastify()
  await app.register(sse)
  await app.register(topics, { log: new MemoryLog() })
  t.ok(app.topics)
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- what an untyped caller has
  const check = (reply: FastifyReply, untyped: any, perhaps: 'a' | undefined): void => {
    expectTypeOf(reply.sse(app.topics.subscribe('news'))).toEqualTypeOf<FastifyReply>()
    expectTypeOf(reply.sse(untyped)).toEqualTypeOf<FastifyReply>()
    expectTypeOf(reply.sse(null)).toEqualTypeOf<FastifyReply>()
    expectTypeOf(reply.sse(undefined)).toEqualTypeOf<SseStream>()
    expectTypeOf(reply.sse(perhaps)).toEqualTypeOf<FastifyReply | SseStream>()
  }
  expectTypeOf(check).toBeFunction()
})
