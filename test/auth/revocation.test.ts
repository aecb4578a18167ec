import { mock } from 'node:test'
import t from 'tap'
import { Grant } from '../../plugin/auth/index.ts'
import { OpenStreams } from '../../plugin/auth/open-streams.ts'
import { Revocation } from '../../plugin/auth/revocation.ts'
import { MemoryTokenStore } from '../../plugin/auth/one-time/memory-token-store.ts'
import { buildApp } from '../support/app.ts'
import { LIMITS } from '../support/token-store-contract.ts'

t.test('of two times of one subject the later one counts, and what is too old is let go', async t => {
  mock.timers.enable({ apis: ['Date'], now: 1_000_000 })
  t.teardown(() => { mock.timers.reset(); mock.restoreAll() })
  const store = new MemoryTokenStore()
  const app = await buildApp(t)
  const revocation = new Revocation({ store, streams: new OpenStreams(0), limits: LIMITS, revocationMs: 60_000, timeoutMs: 1_000, log: app.log })
  await revocation.start(() => {})
  const isRevoked = (issuedAtMs: number): boolean => revocation.isRevoked(new Grant({ subject: 'ann', issuedAtMs }, 'bearer'))
  await revocation.revoke({ subject: 'ann' })
  t.ok(isRevoked(1_000_000))
  t.notOk(isRevoked(1_000_001))
  for (const atMs of [999_000, 1_000_000, 1_002_000, 1_001_000]) {
    mock.method(store, 'revokedSubjects', async () => new Map([['ann', atMs]]))
    await revocation.check()
  }
  t.ok(isRevoked(1_002_000), 'a clock of the store that goes back takes nothing back')
  t.notOk(isRevoked(1_002_001))
  // The store has come back empty.
  mock.method(store, 'revokedSubjects', async () => new Map())
  await revocation.check()
  t.ok(isRevoked(1_002_000))
  mock.timers.tick(61_999)
  await revocation.check()
  t.ok(isRevoked(1_002_000))
  mock.timers.tick(1)
  await revocation.check()
  t.notOk(isRevoked(1_002_000))
})
