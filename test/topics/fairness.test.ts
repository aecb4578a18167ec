import { get } from 'node:http'
import t from 'tap'
import { MemoryLog } from '../../plugin/topics/index.ts'
import { newEvents } from '../support/log-contract.ts'
import { until } from '../support/until.ts'
import { listen } from '../support/apps/app.ts'
import { buildTopicsApp } from '../support/apps/topics-app.ts'

/**
 * Many times the number of events that a client reads in one round of its loop (about 16,000 of these), which is the
 * greatest possible distance between the two streams.
 */
const MISSED = 200_000

t.test('a huge replay does not delay live clients', async t => {
  const log = new MemoryLog({ retention: [{ topics: '*', maxEvents: MISSED + 10 }] })
  const app = await buildTopicsApp(t, { log })
  await log.append(
    'a',
    newEvents(MISSED, 'padded to about a hundred bytes, as an event of a score board or a dashboard would be: ')
  )
  const origin = await listen(app)

  let liveText = ''
  const live = get(
    `${origin}/events?topic=a`,
    response => response.setEncoding('utf8').on('data', (text: string) => { liveText += text })
  )
  await until(() => liveText.includes('stream.open'))

  // Counted by the blank lines that end events; one may be cut between its two line ends.
  let cut = ''
  let replayed = 0
  let replayedWhenLiveHeard: number | undefined
  let published: Promise<unknown> | undefined
  const replay = get(`${origin}/events?topic=a`, {
    headers: { 'last-event-id': '0-0' }
  }, response => response.setEncoding('latin1').on('data', (text: string) => {
    replayed += (cut + text).split('\n\n').length - 1
    cut = /(^|[^\n])\n$/.test(text) ? '\n' : ''
    // Published here and not by polling: a fast replay would be over before the next check.
    if (replayed > MISSED / 20) published ??= app.topics.publish('a', { data: 'news' })
    if (replayedWhenLiveHeard === undefined && liveText.includes('news')) replayedWhenLiveHeard = replayed
  }))
  await until(() => replayed >= MISSED)
  await published
  t.comment(`${replayedWhenLiveHeard} of ${MISSED} were replayed when the live client heard the news`)
  t.ok(replayedWhenLiveHeard !== undefined && replayedWhenLiveHeard < MISSED / 2)
  live.destroy()
  replay.destroy()
})
