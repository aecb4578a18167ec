import { mock } from 'node:test'
import t from 'tap'
import { Grant } from '../../plugin/auth/index.ts'
import { GrantedStreams } from '../../plugin/auth/granted-streams.ts'
import { Revocation } from '../../plugin/auth/revocation.ts'
import { MemoryTokenStore } from '../../plugin/auth/one-time/memory-token-store.ts'
import { buildApp } from '../support/app.ts'
import { LIMITS } from '../support/token-store-contract.ts'

t.test('of two times of one subject the later one counts, and what is too old is let go', async t => {
  mock.timers.enable({ apis: ['Date'], now: 1_000_000 })
  t.teardown(() => { mock.timers.reset(); mock.restoreAll() })
  const store = new MemoryTokenStore()
  const app = await buildApp(t)
  const revocation = new Revocation({ store, streams: new GrantedStreams(0), limits: LIMITS, revocationMs: 60_000, timeoutMs: 1_000, log: app.log })
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

// A token with a longer life than a revocation is remembered was good again afterwards.
t.test('a credential from before a revocation that was forgotten is too old, whoever has forgotten it', async t => {
  mock.timers.enable({ apis: ['Date'], now: 1_000_000 })
  t.teardown(() => { mock.timers.reset(); mock.restoreAll() })
  const store = new MemoryTokenStore()
  const app = await buildApp(t)
  const start = async (): Promise<Revocation> => {
    const revocation = new Revocation({ store, streams: new GrantedStreams(0), limits: LIMITS, revocationMs: 60_000, timeoutMs: 1_000, log: app.log })
    await revocation.start(() => {})
    return revocation
  }
  const isTooOld = (revocation: Revocation, issuedAtMs: number | undefined): boolean => revocation.isTooOld(new Grant({ subject: 'bob', issuedAtMs }, 'bearer'))
  const first = await start()
  t.notOk(isTooOld(first, undefined), 'where nothing was ever revoked nothing is too old')
  await first.revoke({ subject: 'ann' })
  mock.timers.tick(60_001)
  await first.check()
  for (const revocation of [first, await start()]) {
    t.ok(isTooOld(revocation, 1_000_000))
    t.ok(isTooOld(revocation, undefined))
    t.notOk(isTooOld(revocation, 1_000_001))
  }
})

// Every check asked for all that was ever revoked.
t.test('a check asks for what was revoked since the last one', async t => {
  const store = new MemoryTokenStore()
  const app = await buildApp(t)
  const asked: (number | undefined)[] = []
  const revokedSubjects = store.revokedSubjects.bind(store)
  store.revokedSubjects = sinceMs => { asked.push(sinceMs); return revokedSubjects(sinceMs) }
  const revocation = new Revocation({ store, streams: new GrantedStreams(0), limits: LIMITS, revocationMs: 3_600_000, timeoutMs: 1_000, log: app.log })
  await revocation.start(() => {})
  await revocation.revoke({ subject: 'ann' })
  await revocation.check()
  t.equal(asked[0], 0)
  t.ok(asked[1]! > Date.now() - 120_000 && asked[1]! < Date.now())
})
