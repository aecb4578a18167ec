import t from 'tap'
import { show } from '../../plugin/common/show.ts'
import { checkEvents, EVENT_PATTERN } from '../../plugin/topics/new-event.ts'

t.test('what the data itself throws is told, whatever it is', async t => {
  for (const thrown of [new Error('its own'), 'its own']) {
    const data = { toJSON (): never { throw thrown } }
    t.throws(() => checkEvents({ data }, { maxEventBytes: 100, maxBatchEvents: 1 }), { code: 'TOPICS_BAD_EVENT', message: /its own/, cause: thrown })
  }
})

t.test('the pattern of names that clients are shown is the rule that is applied', async t => {
  const pattern = new RegExp(EVENT_PATTERN)
  const names = ['', 'a', 'open', 'error', 'opened', 'reopen', 'Open', 'errors', 'stream', 'stream.', 'stream.x', 'streams.x', 'x.stream.', 'a\nb', 'a\r', '\0', '\u2028', 'ü 🙂', ' open', 'open\n', 'message']
  for (const event of names) {
    const isAccepted = pattern.test(event)
    const check = (): unknown => checkEvents({ data: 1, event }, { maxEventBytes: 100, maxBatchEvents: 1 })
    if (isAccepted) t.ok(check(), event)
    else t.throws(check, { code: 'TOPICS_BAD_EVENT' }, event)
  }
})

// An event that was checked while its line was read was checked and encoded again when its batch was published.
t.test('what is checked already is not checked again', async t => {
  let serialized = 0
  const data = { toJSON: () => ++serialized }
  const limits = { maxEventBytes: 100, maxBatchEvents: 1 }
  const checked = checkEvents({ data }, limits)
  t.equal(checkEvents(checked, limits)[0], checked[0])
  t.equal(serialized, 1)
})

// It was shown as [object Object].
t.test('a value with a BigInt inside is shown as it is', async t => {
  t.equal(show({ id: 5n, list: [1n] }), '{"id":"5n","list":["1n"]}')
})
