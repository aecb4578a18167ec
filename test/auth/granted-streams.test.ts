import t from 'tap'
import { Grant } from '../../plugin/auth/index.ts'
import { GrantedStreams } from '../../plugin/auth/granted-streams.ts'
import type { GrantedStream } from '../../plugin/auth/granted-streams.ts'
import { deferred } from '../../plugin/common/deferred.ts'
import type { CloseReason, SseStream } from '../../plugin/index.ts'

/** How often anything of any grant was looked at. */
let looks = 0

interface Stage { streams: GrantedStreams, open: GrantedStream[], reasons: Map<SseStream, string> }

function stage (count: number): Stage {
  const streams = new GrantedStreams(0)
  const reasons = new Map<SseStream, string>()
  const open = Array.from({ length: count }, (_, at) => {
    const closed = deferred<CloseReason>()
    const stream = { isOpen: true, closed: closed.promise, close (reason: CloseReason) { reasons.set(this as never, reason); closed.settle(reason) } } as unknown as SseStream
    const grant = new Grant({ subject: `subject ${at}` }, 'token', `session ${at}`)
    const counted = new Proxy(grant, { get: (target, name) => { looks++; return Reflect.get(target, name) as unknown } })
    const added = streams.add({ stream, grant: counted, askAgain: undefined })
    streams.takeTurn(added, 1)
    return added
  })
  return { streams, open, reasons }
}

// Each reconnect of a session was announced to every node, and each node copied and walked all of its streams for it: 8,000 that
// came back together cost 9 to 13 s of CPU on every node, 16,000 four times that.
t.test('what an announcement costs does not depend on how many streams there are', async t => {
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

t.test('a stream that is over is found no more, and nothing is kept of it', async t => {
  const { streams, open } = stage(3)
  t.same(streams.sessions(), new Set(['session 0', 'session 1', 'session 2']))
  streams.revokeSubject('subject 1', () => true)
  await open[1]!.stream.closed
  t.equal(streams.size, 2)
  t.same(streams.sessions(), new Set(['session 0', 'session 2']))
  const second = streams.add({ ...open[0]!, askAgain: undefined })
  t.equal(streams.size, 3)
  second.stream.close('end')
  await second.stream.closed
  t.same([...streams].map(({ grant }) => grant.session), ['session 2'])
})
