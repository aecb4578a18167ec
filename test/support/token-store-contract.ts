import { randomUUID } from 'node:crypto'
import type { Test } from 'tap'
import { MAX_SECRETS } from '../../plugin/auth/one-time/token-store.ts'
import type { PresentedToken, SessionLimits, StoreChange, TokenRecord, TokenStore } from '../../plugin/auth/one-time/token-store.ts'
import { until } from './log-contract.ts'

/** A store that has started, what it told so far, and a way to let time pass in it. */
export interface StoreStage {
  store: TokenStore
  changes: StoreChange[]
  /** Makes everything in it older by so many ms. */
  age: (ms: number) => Promise<void>
}

export const LIMITS: SessionLimits = { slidingMs: 60_000, absoluteMs: 300_000, graceMs: 10_000 }
const TTL_MS = 30_000

export function recordOf (subject: string, grant: Partial<TokenRecord['grant']> = {}): TokenRecord {
  return { grant: { subject, subscribe: ['news'], publish: [], issuedAtMs: Date.now() - 3_600_000, ...grant }, origin: 'https://app.test' }
}

/** Stands for a hash: as long as one. */
export function newHash (): string {
  return randomUUID().padEnd(43, '-')
}

export function presented (tokenHash: string, given: Partial<PresentedToken> = {}): PresentedToken {
  return { tokenHash, secretHash: undefined, fingerprint: 'a browser', ...given }
}

/** What was announced, without the doubts of a connection that was lost on a busy machine and came back. */
function told (changes: readonly StoreChange[]): StoreChange[] {
  return changes.filter(({ kind }) => kind !== 'doubt')
}

/** The contract of a TokenStore; every implementation passes all of it. `stage` makes a fresh one, stopped after the test. */
export function testTokenStoreContract (t: Test, stage: (t: Test) => Promise<StoreStage>): void {
  testTokens(t, stage)
  testSessions(t, stage)
  testRevocation(t, stage)
}

function testTokens (t: Test, stage: (t: Test) => Promise<StoreStage>): void {
  t.test('a token is found as often as it is looked for, with what it was issued with, and redeemed once', async t => {
    const { store } = await stage(t)
    const [hash, record] = [newHash(), recordOf('ann', { subscribe: ['a', 'b.*'], expiresAtMs: Date.now() + 250_000 })]
    await store.issue(hash, record, TTL_MS)
    for (let time = 0; time < 3; time++) {
      const found = await store.find(presented(hash), LIMITS)
      t.same(found?.record, record)
      t.equal(found?.kind, 'fresh')
      t.ok(found!.endsInMs > 200_000 && found!.endsInMs <= 250_000, 'not longer than the grant')
    }
    t.match(await store.redeem(presented(hash), newHash(), LIMITS), { kind: 'fresh', record })
    t.equal(await store.redeem(presented(hash, { fingerprint: 'another' }), newHash(), LIMITS), undefined)
    t.equal(await store.find(presented(hash, { fingerprint: 'another' }), LIMITS), undefined)
  })

  t.test('lists that are empty stay lists, and what was not given stays so', async t => {
    const { store } = await stage(t)
    const hash = newHash()
    const record: TokenRecord = { grant: { subject: 'ü"\n\u2028', subscribe: [], publish: [] }, origin: undefined }
    await store.issue(hash, record, TTL_MS)
    const found = await store.redeem(presented(hash), newHash(), LIMITS)
    t.same(JSON.parse(JSON.stringify(found?.record)), JSON.parse(JSON.stringify(record)))
  })

  t.test('an unknown token is nothing', async t => {
    const { store } = await stage(t)
    t.equal(await store.find(presented(newHash()), LIMITS), undefined)
    t.equal(await store.redeem(presented(newHash()), newHash(), LIMITS), undefined)
  })

  t.test('of 50 who redeem one token at the same moment one wins', async t => {
    const { store } = await stage(t)
    const hash = newHash()
    await store.issue(hash, recordOf('ann'), TTL_MS)
    const racers = Array.from({ length: 50 }, (_, at) => store.redeem(presented(hash, { fingerprint: `client ${at}` }), newHash(), LIMITS))
    const taken = await Promise.all(racers)
    t.same(taken.filter(Boolean).map(found => found?.kind), ['fresh'])
  })

  t.test('a token is gone when its time is over, or its grant has expired', async t => {
    const { store, age } = await stage(t)
    const [old, short, dead] = [newHash(), newHash(), newHash()]
    await store.issue(old, recordOf('ann'), TTL_MS)
    await store.issue(short, recordOf('ann', { expiresAtMs: Date.now() + 20_000 }), TTL_MS)
    await store.issue(dead, recordOf('ann', { expiresAtMs: Date.now() - 1 }), TTL_MS)
    t.equal(await store.find(presented(dead), LIMITS), undefined)
    await age(20_000)
    t.equal(await store.redeem(presented(short), newHash(), LIMITS), undefined)
    t.ok(await store.find(presented(old), LIMITS))
    await age(10_000)
    t.equal(await store.redeem(presented(old), newHash(), LIMITS), undefined)
    await store.issue(newHash(), recordOf('bob'), TTL_MS)
  })
}

/** A session that has begun. */
async function begin (store: TokenStore, record = recordOf('ann'), limits = LIMITS): Promise<{ session: string, secret: string }> {
  const [session, secret] = [newHash(), newHash()]
  await store.issue(session, record, TTL_MS)
  await store.redeem(presented(session), secret, limits)
  return { session, secret }
}

function testSessions (t: Test, stage: (t: Test) => Promise<StoreStage>): void {
  t.test('a spent token is resumed with its session\'s secret by whomever, and by no other secret', async t => {
    const { store, age } = await stage(t)
    const { session, secret } = await begin(store)
    await age(LIMITS.graceMs + 1)
    const other = await begin(store, recordOf('bob'))
    for (const secretHash of [other.secret, newHash(), undefined, secret.slice(1), `${secret},`, ',']) {
      t.equal(await store.redeem(presented(session, { secretHash }), newHash(), LIMITS), undefined, String(secretHash))
    }
    const given = presented(session, { secretHash: secret, fingerprint: 'in another network' })
    t.match(await store.find(given, LIMITS), { kind: 'resumed', record: { grant: { subject: 'ann' } } })
    const late = newHash()
    t.match(await store.redeem(given, late, LIMITS), { kind: 'resumed' })
    t.equal(await store.find(presented(session, { secretHash: late }), LIMITS), undefined, 'a resume adds no secret')
  })

  t.test('the same client repeats within the grace when its stream is over, and each of its secrets resumes', async t => {
    const { store, age } = await stage(t)
    const { session, secret } = await begin(store)
    const again = newHash()
    t.match(await store.find(presented(session), LIMITS), { kind: 'busy' })
    t.equal(await store.redeem(presented(session), newHash(), LIMITS), undefined, 'whoever has seen its URL cannot take its place')
    await store.release(newHash(), 1)
    await store.release(session, 7)
    t.match(await store.find(presented(session), LIMITS), { kind: 'busy' })
    await store.release(session, 1)
    t.match(await store.find(presented(session), LIMITS), { kind: 'repeated' })
    t.match(await store.redeem(presented(session), again, LIMITS), { kind: 'repeated', hasOlder: false })
    t.equal(await store.redeem(presented(session, { fingerprint: 'another' }), newHash(), LIMITS), undefined)
    await age(LIMITS.graceMs + 1)
    t.equal(await store.find(presented(session), LIMITS), undefined)
    for (const secretHash of [secret, again]) t.match(await store.find(presented(session, { secretHash }), LIMITS), { kind: 'resumed' })
  })

  t.test('each redemption of a session has its turn, and looking it up takes none', async t => {
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
    t.match(turns, [
      { kind: 'fresh', turn: 1, hasOlder: false }, { kind: 'resumed', turn: 2, hasOlder: true },
      { kind: 'repeated', turn: 3, hasOlder: false }, { kind: 'resumed', turn: 4, hasOlder: true }
    ])
    const more = await Promise.all(Array.from({ length: 10 }, () => store.redeem(resuming, newHash(), LIMITS)))
    t.same(more.map(taken => taken?.turn).sort((a = 0, b = 0) => a - b), Array.from({ length: 10 }, (_, at) => 5 + at))
  })

  t.test('a session takes a bounded number of repeats', async t => {
    const { store } = await stage(t)
    const { session } = await begin(store)
    for (let secrets = 1; secrets < MAX_SECRETS; secrets++) {
      await store.release(session, secrets)
      t.ok(await store.redeem(presented(session), newHash(), LIMITS))
    }
    await store.release(session, MAX_SECRETS)
    t.equal(await store.redeem(presented(session), newHash(), LIMITS), undefined)
  })

  t.test('an unused session ends; touching or resuming it slides it on, looking it up does not', async t => {
    const { store, age } = await stage(t)
    const { session, secret } = await begin(store)
    const given = presented(session, { secretHash: secret })
    await age(50_000)
    t.same(await store.touch([session, 'unknown'], LIMITS), new Set([session]))
    await age(50_000)
    t.match(await store.redeem(given, newHash(), LIMITS), { kind: 'resumed' })
    await age(50_000)
    t.match(await store.find(given, LIMITS), { kind: 'resumed' })
    await age(10_000)
    t.equal(await store.find(given, LIMITS), undefined)
    t.same(await store.touch([session], LIMITS), new Set())
    await begin(store)
  })

  t.test('a session ends absolutely, however much it is used, and with its grant', async t => {
    const { store, age } = await stage(t)
    const long = await begin(store)
    const short = await begin(store, recordOf('ann', { expiresAtMs: Date.now() + 100_000 }))
    const both = [long.session, short.session]
    await age(50_000)
    t.same(await store.touch(both, LIMITS), new Set(both))
    await age(50_000)
    t.same(await store.touch(both, LIMITS), new Set([long.session]))
    for (let passed = 100_000; passed < LIMITS.absoluteMs; passed += 50_000) {
      const found = await store.redeem(presented(long.session, { secretHash: long.secret }), newHash(), LIMITS)
      t.ok(found && found.endsInMs <= LIMITS.absoluteMs - passed, `after ${passed} ms`)
      await age(50_000)
    }
    t.equal(await store.redeem(presented(long.session, { secretHash: long.secret }), newHash(), LIMITS), undefined)
    t.same(await store.touch(both, LIMITS), new Set())
  })

  t.test('of many sessions those that are there are told', async t => {
    const { store } = await stage(t)
    const begun = await Promise.all(Array.from({ length: 1_100 }, () => begin(store)))
    const sessions = begun.map(({ session }) => session)
    await Promise.all(sessions.slice(0, 50).map(session => store.revokeSession(session)))
    t.same(await store.touch(sessions, LIMITS), new Set(sessions.slice(50)))
  })

  t.test('nothing to touch is nothing', async t => {
    const { store } = await stage(t)
    t.same(await store.touch([], LIMITS), new Set())
  })
}

function testRevocation (t: Test, stage: (t: Test) => Promise<StoreStage>): void {
  t.test('a session that is revoked is gone, its token too when it is not redeemed yet, and everybody is told', async t => {
    const { store, changes } = await stage(t)
    const { session, secret } = await begin(store)
    const fresh = newHash()
    await store.issue(fresh, recordOf('ann'), TTL_MS)
    for (const revoked of [session, fresh]) await store.revokeSession(revoked)
    t.equal(await store.find(presented(session, { secretHash: secret }), LIMITS), undefined)
    t.equal(await store.redeem(presented(fresh), newHash(), LIMITS), undefined)
    t.same(await store.touch([session], LIMITS), new Set())
    await until(() => told(changes).length >= 2)
    // On a cluster they may be told by two nodes, in any order.
    const names = new Set(told(changes).map(change => change.kind === 'session revoked' ? change.session : change.kind))
    t.same(names, new Set([session, fresh]))
  })

  t.test('a subject that is revoked: what it was granted before is void, what comes later and what others have is not', async t => {
    const { store, changes } = await stage(t)
    const [ann, bob] = [await begin(store), await begin(store, recordOf('bob'))]
    const [fresh, undated, later] = [newHash(), newHash(), newHash()]
    await store.issue(fresh, recordOf('ann'), TTL_MS)
    await store.issue(undated, recordOf('ann', { issuedAtMs: undefined }), TTL_MS)
    await store.revokeSubject('ann', 3_600_000)
    await store.issue(later, recordOf('ann', { issuedAtMs: Date.now() + 5_000 }), TTL_MS)
    t.equal(await store.redeem(presented(ann.session, { secretHash: ann.secret }), newHash(), LIMITS), undefined)
    for (const hash of [fresh, undated]) t.equal(await store.redeem(presented(hash), newHash(), LIMITS), undefined)
    t.ok(await store.redeem(presented(later), newHash(), LIMITS))
    t.ok(await store.find(presented(bob.session, { secretHash: bob.secret }), LIMITS))
    await until(() => told(changes).length >= 1)
    t.match(told(changes), [{ kind: 'subject revoked', subject: 'ann', atMs: Number }])
    t.ok(Math.abs((told(changes)[0] as { atMs: number }).atMs - Date.now()) < 60_000)
  })

  t.test('revocations are remembered for their time and then forgotten, the last one of a subject counts', async t => {
    const { store, age, changes } = await stage(t)
    t.same(await store.revokedSubjects(), new Map())
    await store.revokeSubject('ann "ü"', 100_000)
    await age(50_000)
    await store.revokeSubject('bob', 1_000_000)
    await store.revokeSubject('cid', 60_000)
    const all = await store.revokedSubjects()
    t.same([...all.keys()].sort(), ['ann "ü"', 'bob', 'cid'])
    t.ok([...all.values()].every(atMs => Math.abs(atMs - Date.now()) < 60_000))
    await store.revokeSubject('cid', 1_000_000)
    await age(500_000)
    t.same([...(await store.revokedSubjects()).keys()].sort(), ['bob', 'cid'])
    await until(() => told(changes).length >= 4)
    const undated = newHash()
    await store.issue(undated, recordOf('ann "ü"', { issuedAtMs: undefined }), TTL_MS)
    t.ok(await store.find(presented(undated), LIMITS), 'a forgotten revocation refuses nothing')
    await store.revokeSubject('dora', 1_000_000)
  })

  // Every node asked for all of them every 30 s, in one script: 300,000 subjects held Redis for 0.65 s each time.
  t.test('revocations are asked for since a time, and one that is forgotten leaves its time', async t => {
    const { store, age } = await stage(t)
    t.equal(await store.forgottenMs(), 0)
    const subjects = Array.from({ length: 2_500 }, (_, at) => `subject ${at}`)
    await Promise.all(subjects.map(subject => store.revokeSubject(subject, 100_000)))
    const all = await store.revokedSubjects()
    t.same([...all.keys()].sort(), [...subjects].sort())
    const latest = Math.max(...all.values())
    const recent = await store.revokedSubjects(latest)
    t.same([...recent].sort(), [...all].filter(([, atMs]) => atMs === latest).sort())
    t.same(await store.revokedSubjects(latest + 3_600_000), new Map())
    await age(200_000)
    await store.revokeSubject('another', 100_000)
    const forgottenMs = await store.forgottenMs()
    t.ok(forgottenMs > Date.now() - 300_000 && forgottenMs <= Date.now(), String(forgottenMs))
    t.same([...(await store.revokedSubjects()).keys()], ['another'])
  })

  t.test('a revocation remembered for long does not prolong one made behind it', async t => {
    const { store, age } = await stage(t)
    await store.revokeSubject('ann', 1_000_000)
    await store.revokeSubject('bob', 100_000)
    await age(500_000)
    t.same([...(await store.revokedSubjects()).keys()], ['ann'])
  })

  t.test('superseding is told with the turn of the stream that stays', async t => {
    const { store, changes } = await stage(t)
    await store.supersede('a session', 7)
    await until(() => told(changes).length >= 1)
    t.same(told(changes), [{ kind: 'superseded', session: 'a session', turn: 7 }])
  })
}
