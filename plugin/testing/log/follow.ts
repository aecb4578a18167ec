import { formatEventId } from '../../topics/ids/event-id.ts'
import { equal, same, until } from '../assert.ts'
import { newEvent, newEvents, numbers, Recorder } from './events.ts'
import type { TopicLogContract } from './contract.ts'

/** What a listener of a topic receives. */
export function testFollow<T> ({ test, makeLog }: TopicLogContract<T>): void {
  // Regression: the publish was reported as failed although its events were stored; with Redis, an exception in a
  // listener ended the process.
  test('a listener that throws fails neither a publish nor the listeners of other topics', async t => {
    const log = await makeLog(t)
    const calls: string[] = []
    const fail = (name: string) => () => {
      calls.push(name)
      throw new Error(name)
    }
    const recorder = new Recorder()
    await log.follow('a', {
      onEntries: fail('entries'),
      onClosed: fail('closed'),
      onResync: fail('resync'),
      onStop: fail('stop')
    })
    await log.follow('b', recorder)
    await log.append('a', newEvents(1))
    await log.close('a')
    await log.delete('a')
    equal((await log.append('a', newEvents(1))).ids[0]?.n, 2)
    await log.append('b', newEvents(1))
    await until(() => calls.length === 4 && recorder.entries.length === 1)
    same(calls, ['entries', 'closed', 'resync', 'entries'])
  })

  test('a follower hears everything appended after the ends it was given, in order', async t => {
    const log = await makeLog(t)
    await log.append('a', newEvents(2, 'before'))
    const recorder = new Recorder()
    const running = Promise.all(Array.from({ length: 20 }, (_, at) => log.append('a', newEvents(2, `during${at}-`))))
    const ends = await log.follow('a', recorder)
    await running
    const { ids } = await log.append('a', [newEvent('after', 'name', 5)])
    await until(() => recorder.entries.at(-1)?.id.n === 43)
    const heard = recorder.entries.filter(entry => entry.id.n > ends.last.n)
    same(numbers(heard), Array.from({ length: 43 - ends.last.n }, (_, at) => ends.last.n + 1 + at))
    same(heard.at(-1), { id: ids[0], data: 'after', event: 'name', retry: 5 })
  })

  test('a follower hears of closing and deleting, and nothing after it unfollowed', async t => {
    const log = await makeLog(t)
    const recorder = new Recorder()
    await log.follow('a', recorder)
    await log.append('a', newEvents(1))
    await log.close('a')
    await until(() => recorder.closed + recorder.resyncs > 0)
    const resyncs = recorder.resyncs + recorder.closed
    await log.delete('a')
    await until(() => recorder.resyncs + recorder.closed > resyncs)
    await log.unfollow('a', recorder)
    await log.unfollow('never followed', recorder)
    const other = new Recorder()
    await log.follow('b', other)
    await log.append('a', newEvents(1))
    await log.append('b', newEvents(1))
    await until(() => other.entries.length === 1)
    equal(recorder.entries.length, 1)
  })

  // Regression: the last reader of a topic left and the next one arrived in the same tick; the departure of the old
  // follower removed the new one, which then received nothing.
  test('a topic can be followed again, and a follower that leaves late does not take the new one along', async t => {
    const log = await makeLog(t)
    const old = new Recorder()
    await log.follow('a', old)
    await log.unfollow('a', old)
    const recorder = new Recorder()
    await log.follow('a', recorder)
    await log.unfollow('a', old)
    const { ids } = await log.append('a', newEvents(1))
    await until(() => recorder.entries.length > 0)
    equal(formatEventId(recorder.entries[0]!.id), formatEventId(ids[0]!))
  })
}
