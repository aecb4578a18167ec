import { mock } from 'node:test'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { Grant } from '../../../plugin/auth/index.ts'
import { GrantedStreams } from '../../../plugin/auth/grants/granted-streams.ts'
import { Revocation } from '../../../plugin/auth/grants/revocation.ts'
import { MemoryTokenStore } from '../../../plugin/auth/one-time/memory-token-store.ts'
import type { TokenStore } from '../../../plugin/auth/index.ts'
import { buildApp } from '../../support/apps/app.ts'
import { LIMITS } from '../../support/auth/token-store-contract.ts'

function revocationOf (app: FastifyInstance, store: TokenStore, revocationMs: number): Revocation {
  const streams = new GrantedStreams(app.sse.streams, 0)
  return new Revocation({ store, streams, limits: LIMITS, revocationMs, timeoutMs: 1_000, log: app.log })
}

t.test('the later of two revocation times of a subject counts, and expired ones are dropped', async t => {
  mock.timers.enable({ apis: ['Date'], now: 1_000_000 })
  t.teardown(() => { mock.timers.reset(); mock.restoreAll() })
  const store = new MemoryTokenStore()
  const app = await buildApp(t)
  const revocation = revocationOf(app, store, 60_000)
  await revocation.start(() => {})
  const isRevoked = (issuedAtMs: number): boolean =>
    revocation.isRevoked(new Grant({ subject: 'ann', issuedAtMs }, 'bearer'))
  await revocation.revoke({ subject: 'ann' })
  t.ok(isRevoked(1_000_000))
  t.notOk(isRevoked(1_000_001))
  for (const atMs of [999_000, 1_000_000, 1_002_000, 1_001_000]) {
    mock.method(store, 'revokedSubjects', async () => new Map([['ann', atMs]]))
    await revocation.check()
  }
  t.ok(isRevoked(1_002_000), 'a clock of the store that is set back undoes no revocation')
  t.notOk(isRevoked(1_002_001))
  // The store is empty after a restart.
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

// Regression: a token that lives longer than its revocation is remembered became valid again.
t.test('a credential from before a forgotten revocation is too old, whichever node forgot it', async t => {
  mock.timers.enable({ apis: ['Date'], now: 1_000_000 })
  t.teardown(() => { mock.timers.reset(); mock.restoreAll() })
  const store = new MemoryTokenStore()
  const app = await buildApp(t)
  const start = async (): Promise<Revocation> => {
    const revocation = revocationOf(app, store, 60_000)
    await revocation.start(() => {})
    return revocation
  }
  const isTooOld = (revocation: Revocation, issuedAtMs: number | undefined): boolean =>
    revocation.isTooOld(new Grant({ subject: 'bob', issuedAtMs }, 'bearer'))
  const first = await start()
  t.notOk(isTooOld(first, undefined), 'without any revocation nothing is too old')
  await first.revoke({ subject: 'ann' })
  mock.timers.tick(60_001)
  await first.check()
  for (const revocation of [first, await start()]) {
    t.ok(isTooOld(revocation, 1_000_000))
    t.ok(isTooOld(revocation, undefined))
    t.notOk(isTooOld(revocation, 1_000_001))
  }
})

// Regression: every check requested all revocations ever made.
t.test('a check queries only what was revoked since the last one', async t => {
  const store = new MemoryTokenStore()
  const app = await buildApp(t)
  const asked: (number | undefined)[] = []
  const revokedSubjects = store.revokedSubjects.bind(store)
  store.revokedSubjects = sinceMs => { asked.push(sinceMs); return revokedSubjects(sinceMs) }
  const revocation = revocationOf(app, store, 3_600_000)
  await revocation.start(() => {})
  await revocation.revoke({ subject: 'ann' })
  await revocation.check()
  t.equal(asked[0], 0)
  t.ok(asked[1]! > Date.now() - 120_000 && asked[1]! < Date.now())
})

t.test('a watcher of a grant is called once when the grant is revoked', async t => {
  const store = new MemoryTokenStore()
  const app = await buildApp(t)
  const revocation = revocationOf(app, store, 60_000)
  await revocation.start(() => {})
  const heard: string[] = []
  const watch = (name: string, subject: string, session?: string, issuedAtMs?: number) =>
    revocation.watch(new Grant({ subject, issuedAtMs }, 'bearer', session), () => { heard.push(name) })
  watch('1', 'ann')
  watch('2', 'ann', 's')
  watch('3', 'bob', 's')
  watch('later', 'ann', undefined, Date.now() + 60_000)
  const stop = watch('stopped', 'ann')
  stop()
  stop()
  await revocation.revoke({ subject: 'ann' })
  t.same(heard, ['1', '2'])
  await revocation.revoke({ session: 's' })
  await revocation.revoke({ subject: 'ann' })
  t.same(heard, ['1', '2', '3'])
  watch('at once', 'ann')()
  t.same(heard, ['1', '2', '3', 'at once'])
})
