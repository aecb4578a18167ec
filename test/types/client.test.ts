import { expectTypeOf } from 'expect-type'
import t from 'tap'
import { subscribe, subscribeNative } from '../../plugin/client/index.ts'
import type { GapDetail, StreamItem, TopicEvent } from '../../plugin/client/index.ts'

interface Score { home: number, away: number }

t.test('events without a map have text, and control events their details', async () => {
  const subscription = subscribe({ url: 'http://127.0.0.1:1/', signal: AbortSignal.abort() })
  subscription.addEventListener('message', event => expectTypeOf(event).toEqualTypeOf<TopicEvent<string>>())
  subscription.addEventListener('gap', ({ detail }) => expectTypeOf(detail).toEqualTypeOf<GapDetail>())
  subscription.addEventListener('error', ({ detail }) => expectTypeOf(detail.willRetry).toEqualTypeOf<boolean>())
  for await (const item of subscription) expectTypeOf(item).toEqualTypeOf<StreamItem<string>>()
})

t.test('with a map each name has its own type of data, and parse returns one of them', async () => {
  const subscription = subscribe<{ score: Score, chat: string }>({
    url: 'http://127.0.0.1:1/', signal: AbortSignal.abort(), parse: text => JSON.parse(text) as Score
  })
  subscription.addEventListener('score', ({ data }) => expectTypeOf(data).toEqualTypeOf<Score>())
  subscription.addEventListener('chat', ({ data }) => expectTypeOf(data).toEqualTypeOf<string>())
  subscription.addEventListener('other', ({ data }) => expectTypeOf(data).toEqualTypeOf<Score | string>())
  // @ts-expect-error: data of no event
  subscribe<{ score: Score }>({ url: 'http://127.0.0.1:1/', signal: AbortSignal.abort(), parse: () => 7 }).close()
})

t.test('the option eventNames is for the native transport only', async () => {
  subscribeNative({ url: 'http://127.0.0.1:1/', signal: AbortSignal.abort(), eventNames: ['score'] })
  // @ts-expect-error: fetch needs none
  const withNames = () => subscribe({ url: 'http://127.0.0.1:1/', eventNames: ['score'] })
  t.throws(withNames, 'subscribe: unknown option "eventNames"')
})
