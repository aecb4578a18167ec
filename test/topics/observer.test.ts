import t from 'tap'
import type { Test } from 'tap'
import { injectSse } from '../../plugin/testing/index.ts'
import type { InjectedStream } from '../../plugin/testing/index.ts'
import { MemoryLog } from '../../plugin/topics/index.ts'
import type {
  GapReason,
  ObservedBatch,
  ResumeOutcome,
  TopicEnds,
  TopicListener,
  TopicsObserver
} from '../../plugin/topics/index.ts'
import { listen } from '../support/apps/app.ts'
import { stall } from '../support/clients/client.ts'
import { until } from '../support/until.ts'
import { buildTopicsApp, publish } from '../support/apps/topics-app.ts'
import type { TopicsAppOptions } from '../support/apps/topics-app.ts'

/** The calls to an observer, in order. */
class Notes implements TopicsObserver {
  readonly resumes: ResumeOutcome[] = []
  readonly gaps: GapReason[] = []
  readonly batches: ObservedBatch[] = []
  resyncs = 0
  onResume (outcome: ResumeOutcome): void { this.resumes.push(outcome) }
  onGap (reason: GapReason): void { this.gaps.push(reason) }
  onBatch (batch: ObservedBatch): void { this.batches.push(batch) }
  onResync (): void { this.resyncs++ }
}

async function start (t: Test, { log = new MemoryLog(), topics }: TopicsAppOptions = {}) {
  const notes = new Notes()
  const app = await buildTopicsApp(t, { log, topics: { observer: notes, ...topics } })
  const connect = (query: string, cursor?: string): Promise<InjectedStream> =>
    injectSse(app, { url: `/events?${query}`, headers: cursor === undefined ? {} : { 'last-event-id': cursor } })
  return { app, notes, connect }
}

t.test('each topic of a client that reconnects is a resume: exact, empty, or the reason of its gap', async t => {
  const log = new MemoryLog({ retention: [{ topics: 'short', maxEvents: 1 }, { topics: '*' }] })
  const { app, notes, connect } = await start(t, { log })
  const [first, last] = await publish(app, 'a', '1', '2')
  const [trimmed] = await publish(app, 'short', '1', '2', '3')
  await connect('topic=a')
  await connect('topic=a&last=2')
  t.same(notes.resumes, [], 'a client without a cursor resumes nothing')
  const outcomes: [string, string, ResumeOutcome[]][] = [
    ['topic=a', first!, ['exact']], ['topic=a', last!, ['empty']], ['topic=short', trimmed!, ['trimmed']],
    ['topic=a', '$', ['unknown']], ['topic=a', '1-1', ['expired']], ['topic=a&topic=b', last!, ['empty']], [
      'topic=a&topic=b', 'x', ['unknown', 'unknown']
    ]
  ]
  for (const [query, cursor, expected] of outcomes) {
    await connect(query, cursor)
    t.same(notes.resumes.splice(0), expected, `${query} ${cursor}`)
  }
  const both = await connect('topic=a&topic=short')
  await both.next()
  await connect('topic=a&topic=short&topic=new', both.events[0]!.id)
  t.same(notes.resumes, ['empty', 'empty'], 'a topic that is new to the cursor resumes nothing')
  t.same(notes.gaps, [], 'a gap at the start is a resume')
})

t.test('a batch reports its events, its bytes and the age of its first event; without readers there is none', async t => {
  let now = Date.now() - 61_000
  const { app, notes, connect } = await start(t, { log: new MemoryLog({ now: () => now }) })
  await publish(app, 'a', 'nobody listens')
  const stream = await connect('topic=a')
  await stream.next()
  await publish(app, 'a', '1', '2', '3')
  await stream.next(3)
  t.match(notes.batches, [{ events: 3, lagMs: Number }])
  t.ok(notes.batches[0]!.lagMs >= 60_000)
  t.ok(stream.text.endsWith('data: 3\n\n') && stream.text.length > notes.batches[0]!.bytes)
  now = Date.now() + 60_000
  await publish(app, 'a', '4')
  await stream.next()
  t.match(notes.batches, [{}, { events: 1, lagMs: 0 }], 'a clock that is ahead does not count as lag')
  await app.topics.close('a')
  await stream.end()
  t.equal(notes.batches.length, 2, 'an end is not an event')
  t.same(app.topics.counts, { topics: 0, feeds: 0, tailBytes: 0, lagging: 0 })
})

/** A log that can fall silent, like one on a network whose connection was lost. */
class MuteLog extends MemoryLog {
  isMute = false

  override follow (topic: string, listener: TopicListener): Promise<TopicEnds> {
    return super.follow(topic, {
      ...listener,
      onClosed () {},
      onResync () {},
      onEntries: entries => {
        if (!this.isMute) listener.onEntries(entries)
      }
    })
  }
}

t.test('a comparison with the log is a resync, and the gap it finds is reported once for all its readers', async t => {
  const log = new MuteLog({ retention: [{ topics: '*', maxEvents: 1 }] })
  const { app, notes, connect } = await start(t, { log })
  const streams = await Promise.all([connect('topic=a'), connect('topic=a')])
  await publish(app, 'a', '1')
  for (const stream of streams) await stream.next(2)
  t.equal(notes.resyncs, 0)
  log.isMute = true
  await publish(app, 'a', '2', '3')
  log.isMute = false
  await publish(app, 'a', '4')
  for (const stream of streams) {
    t.same((await stream.next(2)).map(({ event, data }) => event === 'message' ? data : event), ['stream.gap', '4'])
  }
  t.equal(notes.resyncs, 1)
  t.same(notes.gaps, ['trimmed'])
  t.match(notes.batches, [{ events: 1 }, { events: 1 }])
})

t.test('a client that reads nothing lags, and no longer after it has disconnected', async t => {
  const { app } = await start(t, { log: new MemoryLog({ retention: [{ topics: '*', maxEvents: 10 }] }) })
  const origin = await listen(app)
  const slow = await stall(t, origin, '/events?topic=a')
  await until(() => app.topics.counts.feeds === 1)
  await until(() => app.topics.counts.lagging === 0)
  const text = 'x'.repeat(200_000)
  while (app.topics.counts.lagging === 0) {
    await publish(app, 'a', text)
    // Lets the feed run.
    await new Promise(resolve => setImmediate(resolve))
  }
  t.match(app.topics.counts, { topics: 1, feeds: 1, lagging: 1 })
  slow.socket.destroy()
  await until(() => app.topics.counts.lagging === 0)
})

t.test('a stream that would exceed the limit on topics is asked to retry later; those that share topics are not', async t => {
  const { app, connect } = await start(t, { topics: { maxTopics: 2 } })
  const one = await connect('topic=a&topic=b')
  await one.next()
  t.equal((await connect('topic=b')).statusCode, 200)
  await until(() => app.topics.counts.feeds === 2)
  const refused = await connect('topic=b&topic=c')
  t.same([refused.statusCode, (await refused.end()).length], [200, 0])
  t.type(refused.retryMs, 'number')
  const answer = await app.inject({ url: '/events?topic=c', headers: { accept: '*/*' } })
  t.match(answer.json(), {
    statusCode: 503,
    code: 'TOPICS_TOO_MANY_FOLLOWED',
    message: 'this process follows at most 2 topics, it already follows 2 and cannot follow 1 more'
  })
  t.match(app.topics.counts, { topics: 2, feeds: 2 }, 'nothing is kept of the rejected ones')
  one.close()
  await until(() => app.topics.counts.topics === 1)
  await (await connect('topic=b&topic=c')).next()
})

t.test('an observer without methods is rejected', async t => {
  await t.rejects(start(t, { topics: { observer: {} as TopicsObserver } }), {
    code: 'TOPICS_BAD_OPTION', message: /"observer" must be a TopicsObserver, saw {}/
  })
})
