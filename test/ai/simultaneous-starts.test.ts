import t from 'tap'
import type { Test } from 'tap'
import { createChatStreams, createResumableStreamContext } from '../../plugin/ai/index.ts'
import type { Topics } from '../../plugin/topics/index.ts'
import { MemoryLog } from '../../plugin/topics/index.ts'
import type { Location } from '../../plugin/topics/log/topic-log.ts'
import { Words } from '../support/apps/ai-sdk.ts'
import { startTopics } from '../support/apps/topics-only.ts'
import { until } from '../support/until.ts'

/** A log that delivers what it found only when it is released. */
class LateLog extends MemoryLog {
  held: Promise<void> | undefined

  override async locate (...args: Parameters<MemoryLog['locate']>): Promise<Location> {
    const { held } = this
    const location = await super.locate(...args)
    await held
    return location
  }
}

type Start = (topics: Topics, words: Words) => Promise<unknown>

const STARTS: Record<string, Start> = {
  'createChatStreams().start()': async (topics, words) =>
    createChatStreams(topics, { prefix: '' }).start('a', () => words),
  'createNewResumableStream()': async (topics, words) =>
    createResumableStreamContext({ topics, keyPrefix: '' }).createNewResumableStream('a', () => words)
}

/** Starts twice: the first call has looked at the topic before the second one replaces its content. */
async function startTwice (t: Test, start: Start): Promise<Array<PromiseSettledResult<unknown>>> {
  const log = new LateLog()
  const { topics } = await startTopics(t, log)
  const words = new Words()
  t.teardown(() => words.end())
  await topics.publish('a', { data: 'an earlier answer' })
  await topics.close('a')
  let release = (): void => {}
  log.held = new Promise(resolve => { release = resolve })
  const early = Promise.allSettled([start(topics, words)])
  log.held = undefined
  const later = await Promise.allSettled([start(topics, words)])
  release()
  const results = [...await early, ...later]
  words.say('word')
  await until(async () => (await topics.info('a')).count > 0)
  return results
}

// Regression: the second one deleted the topic in which the first one had begun to write.
for (const [name, start] of Object.entries(STARTS)) {
  t.test(`${name}, twice at the same time: one of the two starts, and the other is rejected`, async t => {
    const results = await startTwice(t, start)
    const rejected = results.filter(({ status }) => status === 'rejected')
    t.equal(rejected.length, 1)
    t.match(rejected[0], { reason: { code: 'TOPICS_PRODUCER_EXISTS' } })
  })
}
