import type { ClientHttp2Session } from 'node:http2'
import { promisify } from 'node:util'
import { gzipSync } from 'node:zlib'
import t from 'tap'
import { startService } from '../../support/processes/commands.ts'
import { until } from '../../support/until.ts'
import { certificateFiles, openHttp2, openSession } from '../../support/network/http2-client.ts'

const EVENTS = '/topics/news/events'
const LIVE = '/topics/live/producer'
const NDJSON = '{"data":1}\n'

/** Bodies that break off: their path, their headers, and what is sent of them. */
const BODIES: readonly [path: string, headers: Record<string, string>, sent: string | Buffer][] = [
  [EVENTS, { 'content-type': 'text/plain' }, 'x'],
  [EVENTS, { 'content-type': 'application/json' }, '{"da'],
  [EVENTS, { 'content-type': 'application/json', 'content-length': '100' }, '{"da'],
  [EVENTS, { 'content-type': 'application/x-ndjson' }, NDJSON],
  [EVENTS, { 'content-type': 'application/x-ndjson', 'content-encoding': 'gzip' }, gzipSync(NDJSON).subarray(0, 15)],
  [LIVE, { 'content-type': 'application/x-ndjson' }, NDJSON],
  [LIVE, { 'content-type': 'text/plain', 'content-encoding': 'gzip' }, gzipSync('x\n').subarray(0, 12)]
]

/** The counters of publishes that are not 0, by outcome. */
async function outcomesOf (session: ClientHttp2Session): Promise<Record<string, number>> {
  const { inbox } = await openHttp2(session, '/metrics', { headers: { accept: 'text/plain' } })
  const counters = (await inbox.ended()).matchAll(/^sse_publishes_total{outcome="(\w+)"} (\d+)$/gm)
  return Object.fromEntries([...counters].map(([, outcome, count]) => [outcome, Number(count)]).filter(([, n]) => n))
}

// Regression: a body that its client broke off was an error of the service at level 50 ("Premature close"), and was
// counted twice: as aborted, and as refused or failed.
t.test('a body over HTTP/2 that its client breaks off is not logged, and is counted once', async t => {
  const { cert, key } = certificateFiles(t)
  const { service, origin } = await startService(t, { LOG: 'memory', TLS_CERT: cert, TLS_KEY: key })
  const asking = await openSession(t, origin, { rejectUnauthorized: false })
  let aborted = 0
  for (const [path, headers, sent] of BODIES) {
    const session = await openSession(t, origin, { rejectUnauthorized: false })
    const stream = session.request({ ':method': 'POST', ':path': path, ...headers })
    stream.on('error', () => {})
    stream.write(sent)
    // Its reply shows that the server has read what was sent before it.
    await promisify(session.ping.bind(session))()
    session.destroy()
    if (path === EVENTS) aborted++
    await until(async () => (await outcomesOf(asking)).aborted === aborted)
  }
  t.same(await outcomesOf(asking), { aborted })
  asking.destroy()
  await service.stop()
  const lines = service.out.trim().split('\n').map(line => JSON.parse(line) as { level: number, msg: string })
  t.same(lines.filter(({ level }) => level > 30).map(({ msg }) => msg), [])
})
