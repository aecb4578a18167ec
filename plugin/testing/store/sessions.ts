import { MAX_SECRETS } from '../../auth/one-time/token-store.ts'
import { equal, match, ok, same } from '../assert.ts'
import { begin, LIMITS, newHash, presented, recordOf, TTL_MS } from './records.ts'
import type { TokenStoreContract } from './contract.ts'

/** How sessions are resumed, and how they end. */
export function testSessions<T> ({ test, stage }: TokenStoreContract<T>): void {
  test('a spent token is resumed with its session\'s secret by whomever, and by no other secret', async t => {
    const { store, age } = await stage(t)
    const { session, secret } = await begin(store)
    await age(LIMITS.graceMs + 1)
    const other = await begin(store, recordOf('bob'))
    for (const secretHash of [other.secret, newHash(), undefined, secret.slice(1), `${secret},`, ',']) {
      equal(await store.redeem(presented(session, { secretHash }), newHash(), LIMITS), undefined, String(secretHash))
    }
    const given = presented(session, { secretHash: secret, fingerprint: 'in another network' })
    match(await store.find(given, LIMITS), { kind: 'resumed', record: { grant: { subject: 'ann' } } })
    const late = newHash()
    match(await store.redeem(given, late, LIMITS), { kind: 'resumed' })
    equal(await store.find(presented(session, { secretHash: late }), LIMITS), undefined, 'a resume adds no secret')
  })

  test('the same client repeats within the grace when its stream is over, and each of its secrets resumes', async t => {
    const { store, age } = await stage(t)
    const { session, secret } = await begin(store)
    const again = newHash()
    match(await store.find(presented(session), LIMITS), { kind: 'busy' })
    const stolen = await store.redeem(presented(session), newHash(), LIMITS)
    equal(stolen, undefined, 'whoever has seen its URL cannot take its place')
    await store.release(newHash(), 1)
    await store.release(session, 7)
    match(await store.find(presented(session), LIMITS), { kind: 'busy' })
    await store.release(session, 1)
    match(await store.find(presented(session), LIMITS), { kind: 'repeated' })
    match(await store.redeem(presented(session), again, LIMITS), { kind: 'repeated', hasOlder: false })
    equal(await store.redeem(presented(session, { fingerprint: 'another' }), newHash(), LIMITS), undefined)
    await age(LIMITS.graceMs + 1)
    equal(await store.find(presented(session), LIMITS), undefined)
    for (const secretHash of [secret, again]) {
      match(await store.find(presented(session, { secretHash }), LIMITS), { kind: 'resumed' })
    }
  })

  test('each redemption of a session has its turn, and looking it up takes none', async t => {
    const { store } = await stage(t)
    const [session, secret] = [newHash(), newHash()]
    await store.issue(session, recordOf('ann'), TTL_MS)
    const [resuming, repeating] = [presented(session, { secretHash: secret }), presented(session)]
    const turns = [await store.redeem(presented(session), secret, LIMITS)]
    for (const given of [resuming, repeating, resuming]) {
      await store.find(given, LIMITS)
      await store.touch([session], LIMITS)
      if (given === repeating) await store.release(session, turns.length)
      turns.push(await store.redeem(given, newHash(), LIMITS))
    }
    match(turns, [
      { kind: 'fresh', turn: 1, hasOlder: false }, { kind: 'resumed', turn: 2, hasOlder: true },
      { kind: 'repeated', turn: 3, hasOlder: false }, { kind: 'resumed', turn: 4, hasOlder: true }
    ])
    const more = await Promise.all(Array.from({ length: 10 }, () => store.redeem(resuming, newHash(), LIMITS)))
    same(more.map(taken => taken?.turn).sort((a = 0, b = 0) => a - b), Array.from({ length: 10 }, (_, at) => 5 + at))
  })

  test('a session takes a bounded number of repeats', async t => {
    const { store } = await stage(t)
    const { session } = await begin(store)
    for (let secrets = 1; secrets < MAX_SECRETS; secrets++) {
      await store.release(session, secrets)
      ok(await store.redeem(presented(session), newHash(), LIMITS))
    }
    await store.release(session, MAX_SECRETS)
    equal(await store.redeem(presented(session), newHash(), LIMITS), undefined)
  })

  test('an unused session ends; touching or resuming it slides it on, looking it up does not', async t => {
    const { store, age } = await stage(t)
    const { session, secret } = await begin(store)
    const given = presented(session, { secretHash: secret })
    await age(50_000)
    same(await store.touch([session, 'unknown'], LIMITS), new Set([session]))
    await age(50_000)
    match(await store.redeem(given, newHash(), LIMITS), { kind: 'resumed' })
    await age(50_000)
    match(await store.find(given, LIMITS), { kind: 'resumed' })
    await age(10_000)
    equal(await store.find(given, LIMITS), undefined)
    same(await store.touch([session], LIMITS), new Set())
    await begin(store)
  })

  test('a session ends absolutely, however much it is used, and with its grant', async t => {
    const { store, age } = await stage(t)
    const long = await begin(store)
    const short = await begin(store, recordOf('ann', { expiresAtMs: Date.now() + 100_000 }))
    const both = [long.session, short.session]
    await age(50_000)
    same(await store.touch(both, LIMITS), new Set(both))
    await age(50_000)
    same(await store.touch(both, LIMITS), new Set([long.session]))
    for (let passed = 100_000; passed < LIMITS.absoluteMs; passed += 50_000) {
      const found = await store.redeem(presented(long.session, { secretHash: long.secret }), newHash(), LIMITS)
      ok(found && found.endsInMs <= LIMITS.absoluteMs - passed, `after ${passed} ms`)
      await age(50_000)
    }
    equal(await store.redeem(presented(long.session, { secretHash: long.secret }), newHash(), LIMITS), undefined)
    same(await store.touch(both, LIMITS), new Set())
  })

  test('of many sessions, those that exist are reported', async t => {
    const { store } = await stage(t)
    const begun = await Promise.all(Array.from({ length: 1_100 }, () => begin(store)))
    const sessions = begun.map(({ session }) => session)
    await Promise.all(sessions.slice(0, 50).map(session => store.revokeSession(session)))
    same(await store.touch(sessions, LIMITS), new Set(sessions.slice(50)))
  })

  test('nothing to touch is nothing', async t => {
    const { store } = await stage(t)
    same(await store.touch([], LIMITS), new Set())
  })
}
