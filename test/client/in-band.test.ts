import { expectTypeOf } from 'expect-type'
import t from 'tap'
import { IN_BAND } from '../../plugin/index.ts'
import type { InBandData } from '../../plugin/index.ts'
import { SERVER_NAMES } from '../../plugin/client/event-source-transport.ts'
import type { ExpiringDetail, GapDetail } from '../../plugin/client/events.ts'

// The client imports nothing of the server, so that its names and types are a second list, which is held against the first.
t.test('the client knows the in-band events that the server sends', async t => {
  t.same(SERVER_NAMES.filter(name => name !== 'message').sort(), Object.values(IN_BAND).sort())
  expectTypeOf<InBandData['stream.gap']>().toExtend<GapDetail>()
  expectTypeOf<GapDetail['reason']>().toEqualTypeOf<InBandData['stream.gap']['reason']>()
  expectTypeOf<InBandData['stream.expiring']>().toExtend<ExpiringDetail>()
})
