import t from 'tap'
import { Grant } from '../../../plugin/auth/index.ts'
import { GrantedStreams } from '../../../plugin/auth/grants/granted-streams.ts'
import type { GrantedStream } from '../../../plugin/auth/grants/granted-streams.ts'
import { StreamRegistry } from '../../../plugin/reply/stream/open-streams.ts'
import { fakeStream } from '../../support/apps/fake-stream.ts'
import type { SseStream } from '../../../plugin/index.ts'

/** The number of times that any field of any grant was read. */
let looks = 0

interface Stage { streams: GrantedStreams, open: GrantedStream[], reasons: Map<SseStream, string> }

function stage (count: number): Stage {
  const registry = new StreamRegistry()
  const streams = new GrantedStreams(registry, 0)
  const reasons = new Map<SseStream, string>()
  const open = Array.from({ length: count }, (_, at) => {
    const grant = new Grant({ subject: `subject ${at}` }, 'token', `session ${at}`)
    const counted = new Proxy(grant, {
      get: (target, name) => { looks++; return Reflect.get(target, name) as unknown }
    })
    const stream = fakeStream(registry, { owner: counted, onClose: (stream, reason) => reasons.set(stream, reason) })
    const added = streams.add({ stream, grant: counted, askAgain: undefined })
    streams.takeTurn(added, 1)
    return added
  })
  return { streams, open, reasons }
}

// Regression: each reconnect of a session was announced to every node, and each node copied and scanned all of its
// streams: 8,000 clients that returned together cost 9 to 13 s of CPU on every node, 16,000 four times that.
t.test('the cost of an announcement does not depend on the number of streams', async t => {
  const costs = [10, 100, 1_000, 10_000].map(count => {
    const { streams, reasons, open } = stage(count)
    looks = 0
    for (const at of [0, 5, 9]) streams.supersede(`session ${at}`, 2)
    streams.supersede('a session of another node', 2)
    streams.revokeSession('session 1')
    streams.revokeSubject('subject 2', () => true)
    streams.revokeSubject('subject 3', () => false)
    t.same([...reasons.keys()], [0, 5, 9, 1, 2].map(at => open[at]!.stream))
    return looks
  })
  t.equal(new Set(costs).size, 1, String(costs))
})

t.test('a stream that has ended is no longer found, and nothing is kept of it', async t => {
  const { streams, open } = stage(3)
  t.same(streams.sessions(), new Set(['session 0', 'session 1', 'session 2']))
  streams.revokeSubject('subject 1', () => true)
  t.equal(streams.size, 2)
  t.same(streams.sessions(), new Set(['session 0', 'session 2']))
  open[0]!.stream.close('end')
  t.same([...streams].map(({ grant }) => grant.session), ['session 2'])
  streams.add(open[0]!)
  t.equal(streams.size, 1, 'a stream that ended before it was admitted is not kept either')
})
