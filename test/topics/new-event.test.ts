import t from 'tap'
import { checkEvents } from '../../plugin/topics/new-event.ts'

t.test('what the data itself throws is told, whatever it is', async t => {
  for (const thrown of [new Error('its own'), 'its own']) {
    const data = { toJSON (): never { throw thrown } }
    t.throws(() => checkEvents({ data }, { maxEventBytes: 100, maxBatchEvents: 1 }), { code: 'TOPICS_BAD_EVENT', message: /its own/, cause: thrown })
  }
})
