import { execFileSync } from 'node:child_process'
import { readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import t from 'tap'
import type { Test } from 'tap'
import { LmdbTokenStore } from '../../../plugin/auth/one-time/lmdb-token-store.ts'
import type { StoreChange } from '../../../plugin/auth/one-time/token-store.ts'
import { heapAfterGc } from '../../support/processes/heap.ts'
import { LIMITS, newHash, presented, recordOf, testTokenStoreContract } from '../../support/auth/token-store-contract.ts'

t.test('the LMDB store satisfies the contract', async t => {
  testTokenStoreContract(t, async t => {
    let passedMs = 0
    const store = new LmdbTokenStore({ folder: t.testdir(), now: () => Date.now() + passedMs })
    const changes: StoreChange[] = []
    await store.start(change => changes.push(change))
    t.teardown(() => store.stop())
    return { store, changes, age: async ms => { passedMs += ms } }
  })
})

/** Opens the same folder as another process would. */
async function openStore (t: Test, folder: string, passedMs = 0): Promise<LmdbTokenStore> {
  const store = new LmdbTokenStore({ folder, now: () => Date.now() + passedMs })
  await store.start(() => {})
  t.teardown(() => store.stop())
  return store
}

// Regression: with the default log, events survived a restart but revocations did not: a revoked token could publish
// again.
t.test('tokens, sessions and revocations survive a restart', async t => {
  const folder = `${t.testdir()}/data`
  const first = await openStore(t, folder)
  const [token, session, secret, repeated, undated] = [newHash(), newHash(), newHash(), newHash(), newHash()]
  const record = recordOf('bob', { expiresAtMs: Date.now() + 200_000 })
  await first.issue(token, record, 30_000)
  await first.issue(session, recordOf('bob'), 30_000)
  await first.redeem(presented(session), secret, LIMITS)
  await first.release(session, 1)
  await first.redeem(presented(session), repeated, LIMITS)
  await first.revokeSubject('short', 1_000)
  await first.revokeSubject('ann "ü"', 1_000_000)
  await first.stop()
  await first.stop()

  const second = await openStore(t, folder)
  t.match(await second.find(presented(token), LIMITS), { kind: 'fresh', record })
  for (const secretHash of [secret, repeated]) {
    t.match(await second.find(presented(session, { secretHash }), LIMITS), { kind: 'resumed' })
  }
  t.match(await second.redeem(presented(session), newHash(), LIMITS), {
    kind: 'repeated', turn: 3, hasOlder: false
  }, 'no stream survived')
  t.ok((await second.revokedSubjects()).has('ann "ü"'))
  await second.issue(undated, recordOf('ann "ü"', { issuedAtMs: undefined }), 30_000)
  t.equal(await second.find(presented(undated), LIMITS), undefined)
  await second.stop()

  const third = await openStore(t, folder, 50_000)
  t.equal(await third.find(presented(token), LIMITS), undefined, 'a token is not older than its issue time')
  t.ok(await third.forgottenMs() > 0)
  t.same([...(await third.revokedSubjects()).keys()], ['ann "ü"'])
  await third.stop()
  const fourth = await openStore(t, folder)
  t.ok(await fourth.forgottenMs() > 0, 'the forgotten revocation is still remembered as a limit')
  t.equal(statSync(`${folder}/auth.mdb`).mode & 0o777, 0o600)
  t.equal(statSync(folder).mode & 0o777, 0o700)
})

t.test('a store that is not open is unavailable, and an invalid folder is rejected', async t => {
  const store = new LmdbTokenStore({ folder: t.testdir() })
  await t.rejects(store.revokedSubjects(), { code: 'FST_SSE_STORE_UNAVAILABLE', statusCode: 503 })
  await t.rejects(store.issue(newHash(), recordOf('ann'), 1_000), { code: 'FST_SSE_STORE_UNAVAILABLE' })
  for (const folder of ['', undefined, 7]) {
    t.throws(() => new LmdbTokenStore({ folder: folder as string }), {
      code: 'FST_SSE_BAD_OPTION', message: /"folder" must be the path of a folder, saw/
    })
  }
})

/** Limits the size of files that this process writes, to simulate a full disk. */
function boundFiles (bytes: number | 'unlimited'): void {
  execFileSync('prlimit', ['--pid', `${process.pid}`, `--fsize=${bytes}:unlimited`])
}

/** Makes writes to files fail until the end of the test, as on a full disk. */
function surviveFullDisk (t: Test): void {
  const survive = (): void => {}
  const { error: print } = console
  process.on('SIGXFSZ', survive)
  // LMDB prints its errors, and if the output of this test goes to a file, that file is limited, too.
  console.error = () => {}
  t.teardown(() => {
    boundFiles('unlimited')
    process.off('SIGXFSZ', survive)
    console.error = print
  })
}

t.test('on a full disk a token is rejected with 503, and what is in memory is written when there is space', async t => {
  surviveFullDisk(t)
  const folder = t.testdir()
  const store = await openStore(t, folder)
  const [first, second] = [newHash(), newHash()]
  boundFiles(1)
  const refused = store.issue(first, recordOf('ann'), 60_000).then(() => undefined, (error: unknown) => error)
  const error = await refused.finally(() => boundFiles('unlimited'))
  t.match(error, { code: 'FST_SSE_STORE_UNAVAILABLE', statusCode: 503 })
  await store.issue(second, recordOf('bob'), 60_000)
  await store.stop()
  const again = await openStore(t, folder)
  t.match(await again.find(presented(second), LIMITS), { record: { grant: { subject: 'bob' } } })
  t.match(await again.find(presented(first), LIMITS), { record: { grant: { subject: 'ann' } } }, 'it was in memory')
})

// Regression: each check of the open streams extends their sessions. All of these changes were kept until they could be
// written, and each attempt started from the beginning: 10,000 streams would have used 360 MB more every hour.
t.test('on a full disk pending writes do not accumulate, and the newest state is written later', async t => {
  surviveFullDisk(t)
  const folder = t.testdir()
  const store = await openStore(t, folder)
  const sessions = Array.from({ length: 200 }, newHash)
  for (const session of sessions) {
    await store.issue(session, recordOf('ann'), 60_000)
    await store.redeem(presented(session), newHash(), LIMITS)
  }
  const touch = async (times: number): Promise<number> => {
    for (let at = 0; at < times; at++) {
      await t.rejects(store.touch(sessions, LIMITS), { code: 'FST_SSE_STORE_UNAVAILABLE' })
    }
    return heapAfterGc()
  }
  boundFiles(1)
  const before = await touch(5)
  const grown = await touch(100) - before
  t.ok(grown < 1_000_000, `${grown} bytes`)
  await t.rejects(store.revokeSession(sessions[0]!), { code: 'FST_SSE_STORE_UNAVAILABLE' })
  boundFiles('unlimited')
  await store.touch(sessions.slice(1), LIMITS)
  await store.stop()
  const again = await openStore(t, folder)
  t.same([...await again.touch(sessions, LIMITS)].sort(), sessions.slice(1).sort())
})

/** A file with revocations that occupy many pages. */
async function filledFile (t: Test): Promise<{ folder: string, file: string, whole: Buffer }> {
  const folder = t.testdir()
  const store = await openStore(t, folder)
  await Promise.all(Array.from({ length: 500 }, (_, at) => store.revokeSubject(`subject ${at}`, 1_000_000)))
  await store.stop()
  const file = `${folder}/auth.mdb`
  return { folder, file, whole: readFileSync(file) }
}

// Regression: the library crashed the process (SIGSEGV, SIGBUS), without a message and at each start; only the file of
// the log was checked.
t.test('a damaged or truncated file is reported at the start, and an empty one is a new store', async t => {
  const { folder, file, whole } = await filledFile(t)
  const damages: Record<string, Buffer> = {
    'one byte': whole.subarray(0, 1),
    'one header': whole.subarray(0, 4_096),
    'two headers': whole.subarray(0, 8_192),
    half: whole.subarray(0, whole.length / 2),
    zeros: Buffer.alloc(whole.length),
    'not LMDB': Buffer.alloc(whole.length, 'x'),
    'only headers': Buffer.concat([whole.subarray(0, 8_192), Buffer.alloc(whole.length - 8_192, 'x')]),
    'not JSON': Buffer.from(whole.toString('latin1').replaceAll('"atMs"', 'x'.repeat(6)), 'latin1')
  }
  for (const [name, content] of Object.entries(damages)) {
    writeFileSync(file, content)
    const store = new LmdbTokenStore({ folder })
    await t.rejects(store.start(() => {}), { code: 'FST_SSE_STORE_CORRUPT', message: /auth\.mdb is damaged/ }, name)
    await store.stop()
  }
  writeFileSync(file, whole)
  t.equal((await (await openStore(t, folder)).revokedSubjects()).size, 500)
  t.equal((await (await openStore(t, t.testdir({ 'auth.mdb': '' }))).revokedSubjects()).size, 0)
})

t.test('where only the last page is missing, calls that need it get 503', async t => {
  const { folder, file, whole } = await filledFile(t)
  const { error: print } = console
  console.error = () => {}
  t.teardown(() => { console.error = print })
  truncateSync(file, whole.length - 4_096)
  const store = new LmdbTokenStore({ folder })
  await t.rejects(store.start(() => {}).then(() => store.issue(newHash(), recordOf('ann'), 1_000)), {
    code: /^FST_SSE_STORE_(?:CORRUPT|UNAVAILABLE)$/
  })
  await store.stop()
})

// A lock file that could not be opened crashed the process (SIGSEGV).
t.test('a file that cannot be opened is an error of the system', async t => {
  for (const name of ['auth.mdb', 'auth.mdb-lock']) {
    const store = new LmdbTokenStore({ folder: t.testdir({ [name]: {} }) })
    await t.rejects(store.start(() => {}), { code: 'EISDIR' }, name)
  }
})
