import { mock } from 'node:test'
import t from 'tap'
import type { Test } from 'tap'
import { LmdbTokenStore } from '../../../plugin/auth/one-time/lmdb-token-store.ts'
import { MemoryTokenStore } from '../../../plugin/auth/one-time/memory-token-store.ts'
import type { StoreChange, TokenStore } from '../../../plugin/auth/one-time/token-store.ts'
import { silentLogger } from '../../support/redis/redis-server.ts'
import { LIMITS, newHash, presented, recordOf, testTokenStoreContract } from '../../support/auth/token-store-contract.ts'

t.test('the memory store satisfies the contract', async t => {
  testTokenStoreContract(t, async t => {
    let passedMs = 0
    const store = new MemoryTokenStore({ now: () => Date.now() + passedMs })
    const changes: StoreChange[] = []
    await store.start(change => changes.push(change))
    t.teardown(() => store.stop())
    return { store, changes, age: async ms => { passedMs += ms } }
  })
})

t.test('by default it uses the system clock, and calls no listener before its start or after its stop', async t => {
  const store = new MemoryTokenStore()
  const changes: StoreChange[] = []
  await store.revokeSession('before')
  await store.start(change => changes.push(change))
  await store.stop()
  await store.revokeSession('after')
  t.same(changes, [])
  const hash = newHash()
  await store.issue(hash, recordOf('ann'), 30_000)
  t.match(await store.find(presented(hash), LIMITS), { kind: 'fresh' })
})

/**
 * A store in this process, and the two clocks that it reads: `passedMs` moves the monotonic clock, `setMs` only the
 * wall clock.
 */
async function startClocked (t: Test, store: TokenStore): Promise<{ clock: { passedMs: number, setMs: number } }> {
  const clock = { passedMs: 0, setMs: 0 }
  const [now, wall] = [performance.now.bind(performance), Date.now.bind(Date)]
  mock.method(performance, 'now', () => now() + clock.passedMs)
  mock.method(Date, 'now', () => wall() + clock.passedMs + clock.setMs)
  t.teardown(async () => { mock.restoreAll(); await store.stop() })
  await store.start(() => {}, silentLogger)
  return { clock }
}

const stores: Record<string, (t: Test) => TokenStore> = {
  memory: () => new MemoryTokenStore(),
  LMDB: t => new LmdbTokenStore({ folder: t.testdir() })
}

// Regression: by the wall clock, set back by an hour, a token valid for 30 seconds could be redeemed, and repeated, for
// another hour.
for (const [name, makeStore] of Object.entries(stores)) {
  t.test(`${name}: a clock that is set back prolongs neither a token, nor its grace, nor a session`, async t => {
    const store = makeStore(t)
    const { clock } = await startClocked(t, store)
    const [fresh, spent, secret] = [newHash(), newHash(), newHash()]
    for (const hash of [fresh, spent]) await store.issue(hash, recordOf('ann'), 30_000)
    const { turn } = (await store.redeem(presented(spent), secret, LIMITS))!
    await store.release(spent, turn)
    clock.setMs = -3_600_000
    t.match(await store.find(presented(spent), LIMITS), { kind: 'repeated' })
    clock.passedMs = LIMITS.graceMs
    t.equal(await store.find(presented(spent), LIMITS), undefined)
    clock.passedMs = 30_000
    t.equal(await store.find(presented(fresh), LIMITS), undefined)
    t.match(await store.find(presented(spent, { secretHash: secret }), LIMITS), { kind: 'resumed' })
    clock.passedMs = LIMITS.slidingMs
    t.equal(await store.find(presented(spent, { secretHash: secret }), LIMITS), undefined)
  })

  t.test(`${name}: after a clock was set back by a day, grants issued by the new time are valid`, async t => {
    const store = makeStore(t)
    const { clock } = await startClocked(t, store)
    await store.issue(newHash(), recordOf('ann'), 30_000)
    clock.setMs = -86_400_000
    const [token, short] = [newHash(), newHash()]
    await store.issue(token, recordOf('ann', { expiresAtMs: Date.now() + 40_000 }), 30_000)
    await store.issue(short, recordOf('ann', { expiresAtMs: Date.now() + 10_000 }), 30_000)
    t.match(await store.redeem(presented(token), newHash(), LIMITS), { kind: 'fresh' })
    clock.passedMs = 10_000
    t.equal(await store.find(presented(short), LIMITS), undefined, 'and no token outlives its grant')
    await store.revokeSubject('bob', 60_000)
    const later = newHash()
    await store.issue(later, recordOf('bob', { issuedAtMs: Date.now() + 1 }), 30_000)
    t.match(await store.find(presented(later), LIMITS), { kind: 'fresh' }, 'a revocation is dated by the new time')
  })

  t.test(`${name}: a clock that is set forward ends everything that expires before the new time`, async t => {
    const store = makeStore(t)
    const { clock } = await startClocked(t, store)
    const token = newHash()
    await store.issue(token, recordOf('ann'), 30_000)
    clock.setMs = 60_000
    t.equal(await store.find(presented(token), LIMITS), undefined)
    clock.setMs = 0
    t.equal(await store.find(presented(token), LIMITS), undefined, 'and it does not become valid again')
  })
}
