import t from 'tap'
import { match } from '../../plugin/testing/assert.ts'
import { testTopicLog } from '../../plugin/testing/index.ts'
import { MemoryLog } from '../../plugin/topics/index.ts'
import type {
  Appended,
  LeaseReply,
  LeaseRequest,
  LogEntry,
  NewEvent,
  PageLimit,
  TopicEnds,
  TopicListener
} from '../../plugin/topics/index.ts'
import type { EventId } from '../../plugin/topics/ids/event-id.ts'

// A suite that cannot fail proves nothing: each of these logs breaks one rule, and the suite must report it.

class ForgetsKeys extends MemoryLog {
  override append (topic: string, events: readonly NewEvent[]): Promise<Appended> { return super.append(topic, events) }
}

class ReadsTooMuch extends MemoryLog {
  override read (topic: string, after: EventId, { bytes }: PageLimit): Promise<LogEntry[]> {
    return super.read(topic, after, { count: 1_000, bytes })
  }
}

class ReadsFromTheStart extends MemoryLog {
  override read (topic: string, _after: EventId, limit: PageLimit): Promise<LogEntry[]> {
    return super.read(topic, { ms: 0, n: 0 }, { ...limit, count: 1 })
  }
}

class StaysOpen extends MemoryLog {
  override async close (): Promise<void> {}
}

class FollowsFromTheStart extends MemoryLog {
  override async follow (topic: string, listener: TopicListener): Promise<TopicEnds> {
    return { ...await super.follow(topic, listener), last: { ms: 0, n: 0 } }
  }
}

class LetsAnybodyProduce extends MemoryLog {
  override lease (topic: string, request: LeaseRequest): Promise<LeaseReply> {
    return super.lease(topic, request.do === 'take' ? { ...request, takeOver: true } : request)
  }
}

class AppendsRepeats extends MemoryLog {
  override append (topic: string, events: readonly NewEvent[]): Promise<Appended> { return super.append(topic, events) }
}

const broken: [new (options: object) => MemoryLog, string][] = [
  [ForgetsKeys, 'an idempotency key used again gives the first ids and appends nothing'],
  [ReadsTooMuch, 'pages are bounded by count and by bytes, and joined they are the log'],
  [ReadsFromTheStart, 'a read after the end, or of a topic that is not there, is empty'],
  [StaysOpen, 'a closed topic takes no more events, and says so'],
  [FollowsFromTheStart, 'a follower hears everything appended after the ends it was given, in order'],
  [LetsAnybodyProduce, 'a topic has one producer, and another one is refused or takes over'],
  [AppendsRepeats, 'an append with a lease that is repeated is done once, also after the topic was closed']
]

for (const [Log, name] of broken) {
  t.test(`the suite detects that a log is broken: ${Log.name}`, async t => {
    const tests = new Map<string, (context: undefined) => Promise<void>>()
    testTopicLog<undefined>({
      test: (name, run) => tests.set(name, run),
      makeLog: async (_context, retention = []) => new Log({ retention })
    })
    await t.rejects(tests.get(name)!(undefined), { code: 'ERR_ASSERTION' })
  })
}

t.test('match() compares the properties of the pattern, and nothing else', async t => {
  const value = { a: 1, list: [{ b: 'x', c: undefined }], when: 5 }
  for (const pattern of [
    {}, { a: 1 }, { list: [{ b: 'x' }] }, { list: [{ c: undefined }], when: Number }, { gone: undefined }
  ]) {
    match(value, pattern)
  }
  for (const pattern of [
    { a: 2 }, { list: [] }, { list: [{ b: 'y' }] }, { list: { b: 'x' } }, { a: { b: 1 } }, { a: Number, list: Number }
  ]) {
    t.throws(() => match(value, pattern, 'a value'), {
      code: 'ERR_ASSERTION', message: /^a value: /
    }, JSON.stringify(pattern))
  }
  t.throws(() => match(value, []), { message: /^does not match: / })
  t.throws(() => match(undefined, {}), { code: 'ERR_ASSERTION' })
})
