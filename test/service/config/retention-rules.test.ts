import t from 'tap'
import { TestService } from '../../support/service/service-app.ts'
import { problemsOf } from '../../support/config.ts'

t.test('every mistake in RETENTION is reported at once, with its rule and the allowed values', async t => {
  const cases: [string, string[]][] = [
    [' ', ['has no rule']],
    [';;\n', ['has no rule']],
    ['build/*', ['has no setting for "build/*": write, for example, build/* MAX_EVENTS=100']],
    ['a{b} MAX_EVENTS=1', ['has the pattern "a{b}"']],
    ['a MAX_EVENT=1', [
      'has the setting "MAX_EVENT" for "a": it must be one of MAX_EVENTS, MAX_AGE, EXPIRE_AFTER, IDEMPOTENCY_WINDOW, ' +
        'did you mean MAX_EVENTS?'
    ]],
    ['a zzzzzzzzzzzzz=1', ['has the setting "zzzzzzzzzzzzz" for "a"']],
    [
      'a MAX_EVENTS=0',
      ['has MAX_EVENTS for "a": it must be an integer from 1 to 100000000 (events kept per topic), saw "0"']
    ],
    ['a MAX_EVENTS', ['saw ""']],
    [
      'a MAX_AGE=10',
      ['has MAX_AGE for "a": it must be 0 or a duration such as 30s, 10m, 2h or 1d, up to 366d, saw "10"']
    ],
    ['a IDEMPOTENCY_WINDOW=0', ['has IDEMPOTENCY_WINDOW for "a"']],
    ['a constructor=1', ['has the setting "constructor"']],
    ['* MAX_EVENTS=1; a MAX_EVENTS=2', ['has rules after the one for "*", which would never apply: put "*" last']],
    ['a MAX_EVENTS=1; a MAX_AGE=1d', ['has more than one rule for "a"']],
    ['a MAX_EVENTS=x EXPIRE_AFTER=y; {} MAX_AGE=z', ['MAX_EVENTS', 'EXPIRE_AFTER', 'pattern "{}"', 'MAX_AGE']]
  ]
  for (const [RETENTION, expected] of cases) {
    const problems = problemsOf({ RETENTION })
    t.equal(problems.length, expected.length, problems.join('; '))
    for (const [at, text] of expected.entries()) {
      t.ok(problems[at]?.startsWith('RETENTION ') && problems[at].includes(text), problems.join('; '))
    }
  }
})

t.test('the first rule that matches applies, and its missing settings are those of all topics', async t => {
  const service = await TestService.start(t, {
    MAX_EVENTS: '4',
    RETENTION: 'build/* MAX_EVENTS=2; logs.* MAX_AGE=1d; ' +
    '*.a MAX_EVENTS=1'
  })
  for (const topic of ['build/1', 'logs.a', 'news']) {
    await service.publish(topic, Array.from({ length: 6 }, (_, at) => ({ data: at })))
  }
  t.match(await service.counts('build/1', 'logs.a', 'news'), [{ count: 2 }, { count: 4 }, { count: 4 }])
})
