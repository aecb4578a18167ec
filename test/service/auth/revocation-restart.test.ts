import t from 'tap'
import { TestService } from '../../support/service/service-app.ts'
import { bearer, nowS, SECRET, sign } from '../../support/auth/tokens.ts'

// Regression: the default log is on the disk, but revocations were in memory: a revoked token could publish again after
// a restart.
t.test('with the default log, revocations and one-time tokens survive a restart of the service', async t => {
  const env = { LOG: 'lmdb', DATA_DIR: t.testdir(), JWT_SECRET: SECRET }
  const [alice, bob] = [
    bearer(await sign({ iat: nowS() - 10 })),
    bearer(await sign({ sub: 'bob', topics: { subscribe: ['news'], revoke: true }, iat: nowS() - 10 }))
  ]
  const first = await TestService.start(t, env)
  t.equal((await first.publish('news', { data: 1 }, { headers: alice })).status, 201)
  t.equal(
    (await first.call('/events/revoke', { method: 'POST', body: { subject: 'alice' }, headers: bob })).status,
    204
  )
  const { json } = await first.call('/events/auth', { method: 'POST', body: {}, headers: bob })
  t.equal((await first.publish('news', { data: 2 }, { headers: alice })).status, 401)
  await first.app.close()

  const second = await TestService.start(t, env)
  t.equal((await second.publish('news', { data: 3 }, { headers: alice })).status, 401)
  t.equal(
    (await second.call(`/events?topic=news&ot=${(json as { token: string }).token}`, { method: 'HEAD' })).status,
    200
  )
})
