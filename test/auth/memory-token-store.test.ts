import t from 'tap'
import { MemoryTokenStore } from '../../plugin/auth/one-time/memory-token-store.ts'
import type { StoreChange } from '../../plugin/auth/one-time/token-store.ts'
import { LIMITS, newHash, presented, recordOf, testTokenStoreContract } from '../support/token-store-contract.ts'

t.test('the memory store keeps the contract', async t => {
  testTokenStoreContract(t, async t => {
    let passedMs = 0
    const store = new MemoryTokenStore({ now: () => Date.now() + passedMs })
    const changes: StoreChange[] = []
    await store.start(change => changes.push(change))
    t.teardown(() => store.stop())
    return { store, changes, age: async ms => { passedMs += ms } }
  })
})

t.test('by default it goes by the clock, and tells nobody before it is started and after it is stopped', async t => {
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
