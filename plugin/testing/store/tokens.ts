import type { TokenRecord } from '../../auth/one-time/token-store.ts'
import { equal, match, ok, same } from '../assert.ts'
import { LIMITS, newHash, presented, recordOf, TTL_MS } from './records.ts'
import type { TokenStoreContract } from './contract.ts'

/** Tokens, each of which is redeemed at most once. */
export function testTokens<T> ({ test, stage }: TokenStoreContract<T>): void {
  test('a token is found as often as it is looked for, with what it was issued with, and redeemed once', async t => {
    const { store } = await stage(t)
    const [hash, record] = [newHash(), recordOf('ann', { subscribe: ['a', 'b.*'], expiresAtMs: Date.now() + 250_000 })]
    await store.issue(hash, record, TTL_MS)
    for (let time = 0; time < 3; time++) {
      const found = await store.find(presented(hash), LIMITS)
      same(found?.record, record)
      equal(found?.kind, 'fresh')
      ok(found!.endsInMs > 200_000 && found!.endsInMs <= 250_000, 'not longer than the grant')
    }
    match(await store.redeem(presented(hash), newHash(), LIMITS), { kind: 'fresh', record })
    equal(await store.redeem(presented(hash, { fingerprint: 'another' }), newHash(), LIMITS), undefined)
    equal(await store.find(presented(hash, { fingerprint: 'another' }), LIMITS), undefined)
  })

  test('lists that are empty stay lists, and what was not given stays so', async t => {
    const { store } = await stage(t)
    const hash = newHash()
    const record: TokenRecord = { grant: { subject: 'ü"\n\u2028', subscribe: [], publish: [] }, origin: undefined }
    await store.issue(hash, record, TTL_MS)
    const found = await store.redeem(presented(hash), newHash(), LIMITS)
    same(JSON.parse(JSON.stringify(found?.record)), JSON.parse(JSON.stringify(record)))
  })

  test('an unknown token is nothing', async t => {
    const { store } = await stage(t)
    equal(await store.find(presented(newHash()), LIMITS), undefined)
    equal(await store.redeem(presented(newHash()), newHash(), LIMITS), undefined)
  })

  test('of 50 who redeem one token at the same moment one wins', async t => {
    const { store } = await stage(t)
    const hash = newHash()
    await store.issue(hash, recordOf('ann'), TTL_MS)
    const racers = Array.from({ length: 50 }, (_, at) =>
      store.redeem(presented(hash, { fingerprint: `client ${at}` }), newHash(), LIMITS)
    )
    const taken = await Promise.all(racers)
    same(taken.filter(Boolean).map(found => found?.kind), ['fresh'])
  })

  test('a token is gone when its time is over, or its grant has expired', async t => {
    const { store, age } = await stage(t)
    const [old, short, dead] = [newHash(), newHash(), newHash()]
    await store.issue(old, recordOf('ann'), TTL_MS)
    await store.issue(short, recordOf('ann', { expiresAtMs: Date.now() + 20_000 }), TTL_MS)
    await store.issue(dead, recordOf('ann', { expiresAtMs: Date.now() - 1 }), TTL_MS)
    equal(await store.find(presented(dead), LIMITS), undefined)
    await age(20_000)
    equal(await store.redeem(presented(short), newHash(), LIMITS), undefined)
    ok(await store.find(presented(old), LIMITS))
    await age(10_000)
    equal(await store.redeem(presented(old), newHash(), LIMITS), undefined)
    await store.issue(newHash(), recordOf('bob'), TTL_MS)
  })
}
