import t from 'tap'
import type { Test } from 'tap'
import { open } from '../../support/clients/client.ts'
import { TestService } from '../../support/service/service-app.ts'

// All intervals are measured by the monotonic clock. The wall clock is used for times that are stored or shown: in ids,
// and for the age of events.

const HOUR_MS = 3_600_000

const LOGS: Record<string, (t: Test) => Record<string, string>> = {
  memory: () => ({ LOG: 'memory' }),
  lmdb: t => ({ LOG: 'lmdb', DATA_DIR: t.testdir() })
}

/**
 * Returns a function that moves the wall clock of this process until the end of the test; call it before anything reads
 * the clock.
 */
function takeClock (t: Test): (byMs: number) => void {
  const { now } = Date
  let offMs = 0
  t.intercept(Date, 'now', { value: () => now() + offMs, configurable: true })
  return byMs => { offMs += byMs }
}

/** Settles when this many further heartbeats have arrived. */
function heartbeats (
  inbox: { text: string, until: (what: (text: string) => boolean) => Promise<string> },
  count: number
): Promise<string> {
  const from = inbox.text.length
  return inbox.until(text => text.slice(from).split('\n:').length > count)
}

for (const [name, env] of Object.entries(LOGS)) {
  t.test(`${name}: the clock is set back by an hour: streams stay open and end as before, events continue, and ids do not decrease`, async t => {
    const jump = takeClock(t)
    const service = await TestService.start(t, { ...env(t), HEARTBEAT_MS: '100', MAX_AGE: '10m', MAX_LIFETIME: '5s' })
    const { inbox } = await open(t, `${service.origin}/events?topic=news`)
    await inbox.until('stream.open')
    const key = { headers: { 'idempotency-key': 'k' } }
    const first = await service.publish('news', { data: 'before' }, key)
    jump(-HOUR_MS)
    t.same((await service.publish('news', { data: 'before' }, key)).json, first.json, 'a repeated key is recognised')
    const second = await service.publish('news', { data: 'after' })
    const ids = [first, second].map(({ json }) => (json as { id: string }).id)
    t.equal(ids[1], ids[0]!.replace('-1', '-2'), 'the time in ids stays the same')
    await inbox.until(`id: ${ids[1]}\ndata: after\n\n`)
    await heartbeats(inbox, 3)
    const again = await open(t, `${service.origin}/events?topic=news&last=0`, { headers: { 'last-event-id': ids[0]! } })
    const text = await again.inbox.until('data: after\n\n')
    t.notMatch(text, /stream\.gap|data: before/)
    t.match(await service.call('/readyz'), { status: 200 })
    await inbox.ended()
    t.equal(inbox.text.match(/^data: (before|after)$/gm)?.length, 2, 'each once, and the stream ends on time')
  })

  t.test(`${name}: the clock is set forward by an hour: streams stay, and events that are then too old are dropped and reported`, async t => {
    const jump = takeClock(t)
    const service = await TestService.start(t, { ...env(t), HEARTBEAT_MS: '100', MAX_AGE: '10m' })
    const { inbox } = await open(t, `${service.origin}/events?topic=news`)
    await inbox.until('stream.open')
    await service.publish('news', [{ data: 'old' }, { data: 'older' }])
    jump(HOUR_MS)
    await service.publish('news', { data: 'new' })
    await inbox.until('data: new\n\n')
    await heartbeats(inbox, 3)
    t.notOk(inbox.isOver)
    const behind = await open(t, `${service.origin}/events?topic=news`, { headers: { 'last-event-id': '0-0' } })
    const text = await behind.inbox.until('data: new\n\n')
    t.match(text, /event: stream\.gap\ndata: {[^}]*"reason":"trimmed"[^}]*"missed":2/)
    t.notMatch(text, /data: old/)
  })
}
