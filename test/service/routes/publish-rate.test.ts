import t from 'tap'
import { Grant } from '../../../plugin/auth/grants/grant.ts'
import { publisherOf } from '../../../service/routes/publish-rate.ts'
import { refused, shape } from '../../support/refusal.ts'
import { TestService } from '../../support/service/service-app.ts'

t.test('an address that publishes too often gets 429 and a time to wait; reading is not limited', async t => {
  const service = await TestService.start(t, { PUBLISH_RATE: '3' })
  const answers = await Promise.all(Array.from({ length: 30 }, () => service.publish('news', { data: 'x' })))
  const taken = answers.filter(({ status }) => status === 201)
  const refusals = answers.filter(({ status }) => status !== 201)
  t.ok(taken.length >= 3 && refusals.length > 0, `${taken.length} taken`)
  for (const answer of refusals) {
    t.match(shape(answer), refused(429, 'SERVICE_TOO_MANY_PUBLISHES', /^at most 3 publishes per second, saw more$/))
    t.equal(answer.headers.get('retry-after'), '1')
  }
  for (const { headers } of answers) {
    t.match([headers.get('ratelimit-limit'), headers.get('ratelimit-remaining')], ['3', /^[0-2]$/])
  }
  t.match(await service.counts('news'), [{ count: taken.length }], 'rejected publishes were not stored')
  t.equal((await service.call('/topics/news/close', { method: 'POST' })).status, 204)
})

t.test('without the limit nothing is counted', async t => {
  const service = await TestService.start(t)
  const answers = await Promise.all(Array.from({ length: 30 }, () => service.publish('news', { data: 'x' })))
  for (const { status, headers } of answers) t.match([status, headers.get('ratelimit-limit')], [201, null])
})

t.test('an authenticated client is counted by subject, whatever the address; any other by the address, IPv6 by its /64', async t => {
  const grantOf = (subject: string) => ({ grant: new Grant({ subject }, 'bearer') })
  t.equal(publisherOf({ ip: '10.0.0.1', ...grantOf('ann') }), publisherOf({ ip: '10.0.0.2', ...grantOf('ann') }))
  t.not(publisherOf({ ip: '10.0.0.1', ...grantOf('ann') }), publisherOf({ ip: '10.0.0.1', ...grantOf('bob') }))
  t.not(publisherOf({ ip: '10.0.0.1', grant: null }), publisherOf({ ip: '10.0.0.2', grant: null }))
  t.not(
    publisherOf({ ip: '10.0.0.1' }),
    publisherOf({ ip: '10.0.0.2', ...grantOf('10.0.0.1') }),
    'a subject that looks like an address is not counted as one'
  )
  t.equal(publisherOf({ ip: '2001:db8::1' }), publisherOf({ ip: '2001:db8::ffff:2' }))
  t.not(publisherOf({ ip: '2001:db8:0:1::1' }), publisherOf({ ip: '2001:db8:0:2::1' }))
  t.equal(publisherOf({ ip: '::ffff:10.0.0.1' }), publisherOf({ ip: '10.0.0.1' }))
})

// Regression: the library's own store uses the wall clock: a publisher at its limit was rejected until the old time was
// reached again.
t.test('a clock that is set back does not lock a publisher out', async t => {
  const service = await TestService.start(t, { PUBLISH_RATE: '1' })
  const until = async (status: number): Promise<void> => {
    while ((await service.publish('news', { data: 'x' })).status !== status);
  }
  await until(429)
  const now = Date.now
  t.teardown(() => { Date.now = now })
  Date.now = () => now() - 3_600_000
  await until(201)
  await until(429)
})
