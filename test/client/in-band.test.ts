import { expectTypeOf } from 'expect-type'
import t from 'tap'
import { IN_BAND } from '../../plugin/index.ts'
import type { InBandData } from '../../plugin/index.ts'
import type { GapDetail } from '../../plugin/client/events.ts'
import { eventSourceTransport } from '../../plugin/client/connection/event-source-transport.ts'

/** An EventSource that records the names it has listeners for, and never receives anything. */
class SilentSource extends EventTarget {
  static readonly names: string[] = []
  readonly readyState = 0

  override addEventListener (name: string): void { SilentSource.names.push(name) }
  close (): void {}
}

t.test('a native EventSource listens for every in-band event that the server sends', async t => {
  t.intercept(globalThis, 'EventSource' as never, { value: SilentSource })
  const leaving = new AbortController()
  const request = { url: new URL('http://x/'), cursor: '', token: undefined, tokenParameter: undefined, headers: {} }
  const ended = eventSourceTransport()({ ...request, withCredentials: false }, {} as never, leaving.signal)
  leaving.abort()
  await ended
  t.same(SilentSource.names.sort(), ['message', ...Object.values(IN_BAND)].sort())
  expectTypeOf<InBandData['stream.gap']>().toExtend<GapDetail>()
})
