import t from 'tap'
import { show } from '../../plugin/common/show.ts'
import { checkEvents, EVENT_PATTERN } from '../../plugin/topics/new-event.ts'

t.test('an error thrown by the data itself is reported, whatever it is', async t => {
  for (const thrown of [new Error('its own'), 'its own']) {
    const data = { toJSON (): never { throw thrown } }
    t.throws(() => checkEvents({ data }, { maxEventBytes: 100, maxBatchEvents: 1 }), {
      code: 'TOPICS_BAD_EVENT', message: /its own/, cause: thrown
    })
  }
})

t.test('the documented pattern of names is the rule that is applied', async t => {
  const pattern = new RegExp(EVENT_PATTERN)
  const names = [
    '', 'a', 'open', 'error', 'opened', 'reopen', 'Open', 'errors', 'stream', 'stream.', 'stream.x', 'streams.x',
    'x.stream.', 'a\nb', 'a\r', '\0', '\u2028', 'ü 🙂', ' open', 'open\n', 'message'
  ]
  for (const event of names) {
    const isAccepted = pattern.test(event)
    const check = (): unknown => checkEvents({ data: 1, event }, { maxEventBytes: 100, maxBatchEvents: 1 })
    if (isAccepted) t.ok(check(), event)
    else t.throws(check, { code: 'TOPICS_BAD_EVENT' }, event)
  }
})

// Regression: a name could be as long as the whole event.
t.test('a name has at most 1,024 bytes', async t => {
  const check = (event: string): unknown => checkEvents([{ data: 1, event }], { maxEventBytes: 1e6, maxBatchEvents: 1 })
  for (const event of ['n'.repeat(1_024), `${'€'.repeat(341)}n`]) t.ok(check(event))
  for (const [event, bytes] of [['n'.repeat(1_025), 1_025], ['€'.repeat(342), 1_026]] as const) {
    t.throws(() => check(event), {
      code: 'TOPICS_BAD_EVENT',
      statusCode: 400,
      message: `event 0: field "event" must be at most 1024 bytes, saw ${bytes}`
    })
  }
})

// Regression: an event that was checked when its line was read was checked and encoded again when its batch was
// published.
t.test('an event that was already checked is not checked again', async t => {
  let serialized = 0
  const data = { toJSON: () => ++serialized }
  const limits = { maxEventBytes: 100, maxBatchEvents: 1 }
  const checked = checkEvents({ data }, limits)
  t.equal(checkEvents(checked, limits)[0], checked[0])
  t.equal(serialized, 1)
})

// Regression: it was shown as [object Object].
t.test('a value that contains a BigInt is shown as it is', async t => {
  t.equal(show({ id: 5n, list: [1n] }), '{"id":"5n","list":["1n"]}')
})
