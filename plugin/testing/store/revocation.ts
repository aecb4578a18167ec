import { equal, match, ok, same, until } from '../assert.ts'
import { begin, LIMITS, newHash, presented, recordOf, told, TTL_MS } from './records.ts'
import type { TokenStoreContract } from './contract.ts'

/** Revocation of sessions and subjects. */
export function testRevocation<T> ({ test, stage }: TokenStoreContract<T>): void {
  test('a revoked session is gone, with a token not yet redeemed, and all listeners are notified', async t => {
    const { store, changes } = await stage(t)
    const { session, secret } = await begin(store)
    const fresh = newHash()
    await store.issue(fresh, recordOf('ann'), TTL_MS)
    for (const revoked of [session, fresh]) await store.revokeSession(revoked)
    equal(await store.find(presented(session, { secretHash: secret }), LIMITS), undefined)
    equal(await store.redeem(presented(fresh), newHash(), LIMITS), undefined)
    same(await store.touch([session], LIMITS), new Set())
    await until(() => told(changes).length >= 2)
    // On a cluster two nodes may announce them, in any order.
    const names = new Set(told(changes).map(change => change.kind === 'session revoked' ? change.session : change.kind))
    same(names, new Set([session, fresh]))
  })

  test('a revoked subject: what it was granted before is void, later grants and those of others are not', async t => {
    const { store, changes } = await stage(t)
    const [ann, bob] = [await begin(store), await begin(store, recordOf('bob'))]
    const [fresh, undated, later] = [newHash(), newHash(), newHash()]
    await store.issue(fresh, recordOf('ann'), TTL_MS)
    await store.issue(undated, recordOf('ann', { issuedAtMs: undefined }), TTL_MS)
    await store.revokeSubject('ann', 3_600_000)
    await store.issue(later, recordOf('ann', { issuedAtMs: Date.now() + 5_000 }), TTL_MS)
    equal(await store.redeem(presented(ann.session, { secretHash: ann.secret }), newHash(), LIMITS), undefined)
    for (const hash of [fresh, undated]) equal(await store.redeem(presented(hash), newHash(), LIMITS), undefined)
    ok(await store.redeem(presented(later), newHash(), LIMITS))
    ok(await store.find(presented(bob.session, { secretHash: bob.secret }), LIMITS))
    await until(() => told(changes).length >= 1)
    match(told(changes), [{ kind: 'subject revoked', subject: 'ann', atMs: Number }])
    ok(Math.abs((told(changes)[0] as { atMs: number }).atMs - Date.now()) < 60_000)
  })

  test('revocations are remembered for their time and then forgotten, the last one of a subject counts', async t => {
    const { store, age, changes } = await stage(t)
    same(await store.revokedSubjects(), new Map())
    await store.revokeSubject('ann "ü"', 100_000)
    await age(50_000)
    await store.revokeSubject('bob', 1_000_000)
    await store.revokeSubject('cid', 60_000)
    const all = await store.revokedSubjects()
    same([...all.keys()].sort(), ['ann "ü"', 'bob', 'cid'])
    ok([...all.values()].every(atMs => Math.abs(atMs - Date.now()) < 60_000))
    await store.revokeSubject('cid', 1_000_000)
    await age(500_000)
    same([...(await store.revokedSubjects()).keys()].sort(), ['bob', 'cid'])
    await until(() => told(changes).length >= 4)
    const undated = newHash()
    await store.issue(undated, recordOf('ann "ü"', { issuedAtMs: undefined }), TTL_MS)
    ok(await store.find(presented(undated), LIMITS), 'a forgotten revocation refuses nothing')
    await store.revokeSubject('dora', 1_000_000)
  })

  // Regression: every node read all revocations every 30 s, in one script: 300,000 subjects blocked Redis for 0.65 s
  // each time.
  test('revocations are asked for since a time, and one that is forgotten leaves its time', async t => {
    const { store, age } = await stage(t)
    equal(await store.forgottenMs(), 0)
    const subjects = Array.from({ length: 2_500 }, (_, at) => `subject ${at}`)
    await Promise.all(subjects.map(subject => store.revokeSubject(subject, 100_000)))
    const all = await store.revokedSubjects()
    same([...all.keys()].sort(), [...subjects].sort())
    const latest = Math.max(...all.values())
    const recent = await store.revokedSubjects(latest)
    same([...recent].sort(), [...all].filter(([, atMs]) => atMs === latest).sort())
    same(await store.revokedSubjects(latest + 3_600_000), new Map())
    await age(200_000)
    await store.revokeSubject('another', 100_000)
    const forgottenMs = await store.forgottenMs()
    ok(forgottenMs > Date.now() - 300_000 && forgottenMs <= Date.now(), String(forgottenMs))
    same([...(await store.revokedSubjects()).keys()], ['another'])
  })

  test('a revocation remembered for long does not prolong one made behind it', async t => {
    const { store, age } = await stage(t)
    await store.revokeSubject('ann', 1_000_000)
    await store.revokeSubject('bob', 100_000)
    await age(500_000)
    same([...(await store.revokedSubjects()).keys()], ['ann'])
  })

  test('listeners of a superseded session receive the turn of the stream that stays', async t => {
    const { store, changes } = await stage(t)
    await store.supersede('a session', 7)
    await until(() => told(changes).length >= 1)
    same(told(changes), [{ kind: 'superseded', session: 'a session', turn: 7 }])
  })
}
