import { once } from 'node:events'
import http from 'node:http'
import { mock } from 'node:test'
import t from 'tap'
import type { Test } from 'tap'
import { MemoryTokenStore } from '../../plugin/auth/index.ts'
import { GrantedStreams } from '../../plugin/auth/grants/granted-streams.ts'
import { deferred } from '../../plugin/common/deferred.ts'
import type { Deferred } from '../../plugin/common/deferred.ts'
import { ask, listenTo, startAuthApp } from '../support/auth/auth-app.ts'
import { fetchAll } from '../support/clients/client.ts'
import { until } from '../support/until.ts'
import { cookiesOf, ELSEWHERE, issueToken, redeem, startTokenApp } from '../support/auth/token-app.ts'
import { bearer, nowS, SECRET, sign } from '../support/auth/tokens.ts'

/** A store whose next redemption waits: before it is carried out, or after that, while its answer is on the way. */
class SlowStore extends MemoryTokenStore {
  redemptions = 0
  touches = 0
  #next: { when: 'before' | 'after', go: Promise<void>, reached: Deferred<void> } | undefined

  /** Settles when the redemption has reached that point; `release` lets it continue. */
  hold (when: 'before' | 'after'): { reached: Promise<void>, release: () => void } {
    const [gate, reached] = [deferred(), deferred()]
    this.#next = { when, go: gate.promise, reached }
    return { reached: reached.promise, release: gate.settle }
  }

  override async redeem (...args: Parameters<MemoryTokenStore['redeem']>): ReturnType<MemoryTokenStore['redeem']> {
    const held = this.#next
    this.#next = undefined
    this.redemptions++
    if (held?.when === 'before') await this.#wait(held)
    const taken = await super.redeem(...args)
    if (held?.when === 'after') await this.#wait(held)
    return taken
  }

  override async touch (...args: Parameters<MemoryTokenStore['touch']>): ReturnType<MemoryTokenStore['touch']> {
    this.touches++
    return super.touch(...args)
  }

  async #wait ({ go, reached }: { go: Promise<void>, reached: Deferred<void> }): Promise<void> {
    reached.settle()
    await go
  }
}

/** A session with one stream. */
async function startSession (t: Test, recheckMs = 600_000) {
  const store = new SlowStore()
  const { app, origin } = await startTokenApp(t, { store }, { recheckMs })
  const { token, session } = await issueToken(t, origin)
  const first = await redeem(t, origin, token)
  await first.inbox.until('stream.open')
  const resume = () => redeem(t, origin, token, { cookie: cookiesOf(first), ...ELSEWHERE })
  return { app, origin, store, session, first, resume }
}

// Regression: the stream was superseded before it was registered for such announcements: the session had two streams
// for as long as they lasted.
t.test('a stream that is superseded during its redemption ends', async t => {
  const { store, first, resume } = await startSession(t)
  const { reached, release } = store.hold('after')
  const older = resume()
  await reached
  const newer = await resume()
  await newer.inbox.until('stream.open')
  release()
  t.notMatch(await (await older).inbox.ended(), 'stream.open', 'nothing is sent to it')
  await first.inbox.ended()
  t.notOk(newer.inbox.isOver)
})

t.test('the stream that is redeemed last stays open, even if its request came first', async t => {
  const { store, first, resume } = await startSession(t)
  const { reached, release } = store.hold('before')
  const later = resume()
  await reached
  const earlier = await resume()
  await earlier.inbox.until('stream.open')
  release()
  const { inbox } = await later
  await inbox.until('stream.open')
  await Promise.all([first, earlier].map(({ inbox }) => inbox.ended()))
  t.notOk(inbox.isOver)
})

t.test('of many clients that resume at once one stays connected', async t => {
  const { first, resume } = await startSession(t)
  const all = await Promise.all(Array.from({ length: 10 }, resume))
  await until(() => all.filter(({ inbox }) => !inbox.isOver).length === 1)
  await first.inbox.ended()
  await all.find(({ inbox }) => !inbox.isOver)!.inbox.until('stream.open')
})

t.test('a session that is revoked while its stream is being admitted has no stream', async t => {
  const { app, store, session, first, resume } = await startSession(t)
  const { reached, release } = store.hold('after')
  const stream = resume()
  await reached
  await app.auth.revoke({ session })
  release()
  t.notMatch(await (await stream).inbox.ended(), 'stream.open')
  await first.inbox.ended()
})

t.test('a check during the redemption of a token does not treat its session, which has not started, as ended', async t => {
  const { origin, store } = await startSession(t, 10)
  const { token } = await issueToken(t, origin)
  const { reached, release } = store.hold('before')
  const stream = redeem(t, origin, token)
  await reached
  const { touches } = store
  await until(() => store.touches > touches + 1)
  release()
  const { inbox } = await stream
  await inbox.until('stream.open')
})

t.test('a subject that is revoked between the check of its credentials and its stream is rejected', async t => {
  const [asked, answer] = [deferred(), deferred()]
  const { app, origin } = await startAuthApp(t, { jwt: { secret: SECRET } }, {
    after: app => {
      app.get('/slow', { grant: true }, async (request, reply) => {
        asked.settle()
        await answer.promise
        return reply.sse(app.topics.subscribe('news'))
      })
    }
  })
  const stream = ask(t, `${origin}/slow`, bearer(await sign({ iat: nowS() - 5 })))
  await asked.promise
  await app.auth.revoke({ subject: 'alice' })
  answer.settle()
  t.match(await stream, { status: 401, json: { code: 'FST_SSE_UNAUTHORIZED', message: /were revoked/ } })
})

// It was authenticated when its head came, and its body may take two minutes.
t.test('a request whose subject is revoked while its body arrives reaches no handler', async t => {
  const [guarded, handled] = [deferred<void>(), mock.fn(() => 'done')]
  const { app, origin } = await startAuthApp(t, { jwt: { secret: SECRET } }, {
    after: app => {
      app.post('/publish', {
        grant: true, preParsing: async (request, reply, payload) => { guarded.settle(); return payload }
      }, handled)
    }
  })
  const headers = { ...bearer(await sign({ iat: nowS() - 10 })), 'content-type': 'text/plain' }
  const request = http.request(`${origin}/publish`, { method: 'POST', headers })
  t.teardown(() => request.destroy())
  request.write('half')
  await guarded.promise
  await app.auth.revoke({ subject: 'alice' })
  request.end('of it')
  const [response] = await once(request, 'response') as [http.IncomingMessage]
  response.resume()
  t.equal(response.statusCode, 401)
  t.match(response.headers['www-authenticate'], 'invalid_token')
  t.equal(handled.mock.callCount(), 0)
})

t.test('a request that is rejected when its token is spent leaves nothing behind', async t => {
  const add = mock.method(GrantedStreams.prototype, 'add')
  t.teardown(() => mock.restoreAll())
  const store = new SlowStore()
  const { origin } = await startTokenApp(t, { store })
  const { token } = await issueToken(t, origin)
  const { reached, release } = store.hold('before')
  const loser = redeem(t, origin, token, ELSEWHERE)
  await reached
  const winner = await redeem(t, origin, token)
  await winner.inbox.until('stream.open')
  release()
  t.equal((await loser).statusCode, 401)
  const streams = add.mock.calls[0]!.this as GrantedStreams
  t.equal(streams.size, 1)
  t.notOk(winner.inbox.isOver)
  winner.close()
  await until(() => streams.size === 0)
})

// Regression: each request found the token fresh; the grace period, which is for streams, let the others have a
// response, too.
t.test('of many requests with one token at once one gets a response', async t => {
  const { origin } = await startTokenApp(t)
  const { token } = await issueToken(t, origin)
  const statuses = await Promise.all(Array.from(
    { length: 10 },
    async () => (await fetchAll(t, `${origin}/me?ot=${token}`)).statusCode
  ))
  t.same(statuses.sort(), [200, ...Array.from({ length: 9 }, () => 401)])
})

t.test('two streams of different sessions do not supersede each other', async t => {
  const { origin, first } = await startSession(t)
  const { token } = await issueToken(t, origin)
  const other = await listenTo(t, origin, `/events?topic=news&ot=${token}`)
  await other.inbox.until('stream.open')
  const again = await redeem(t, origin, token, { cookie: cookiesOf(other) })
  await again.inbox.until('stream.open')
  await other.inbox.ended()
  t.notOk(first.inbox.isOver)
})
