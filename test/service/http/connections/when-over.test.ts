import { once } from 'node:events'
import Fastify from 'fastify'
import t from 'tap'
import { whenOver } from '../../../../service/http/connections/when-over.ts'
import { deferred } from '../../../../plugin/common/deferred.ts'
import { listen } from '../../../support/apps/app.ts'
import { connect } from '../../../support/clients/client.ts'
import { openSession } from '../../../support/network/http2-client.ts'

// The resources of a response are released when it is over, so every way in which it can end must be detected.

for (const isHttp2 of [false, true]) {
  t.test(`a client that disconnects before the listener is added is noticed, ${isHttp2 ? 'HTTP/2' : 'HTTP/1.1'}`, async t => {
    const app = Fastify(isHttp2 ? { http2: true } as object : {})
    const arrived = deferred<void>()
    const over = deferred<void>()
    app.addHook('onRequest', async (request, reply) => {
      arrived.settle()
      await once(reply.raw, 'close')
    })
    app.get('/', (request, reply) => {
      whenOver(reply, () => over.settle())
      return 'nobody reads this'
    })
    t.teardown(() => app.close())
    const origin = await listen(app)
    if (isHttp2) {
      const session = await openSession(t, origin)
      const stream = session.request({ ':path': '/' })
      await arrived.promise
      stream.close()
    } else {
      const { send, socket } = await connect(t, origin)
      send('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')
      await arrived.promise
      socket.destroy()
    }
    await over.promise
  })
}

t.test('consecutive responses on one connection end one by one, and each is reported once', async t => {
  const app = Fastify()
  const over: string[] = []
  const last = deferred<void>()
  app.get('/:name', async ({ params }, reply) => {
    const { name } = params as { name: string }
    whenOver(reply, () => over.push(name))
    if (name === 'last') await last.promise
    return name
  })
  t.teardown(() => app.close())
  const { send, socket, inbox } = await connect(t, await listen(app))
  send('GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n')
  await inbox.until('\r\n\r\na')
  send(['b', 'c', 'last'].map(name => `GET /${name} HTTP/1.1\r\nHost: localhost\r\n\r\n`).join(''))
  await inbox.until('\r\n\r\nc')
  t.same(over.slice(0, 2), ['a', 'b'])
  const closed = once(socket, 'close')
  socket.destroy()
  await closed
  last.settle()
  t.equal(new Set(over).size, over.length)
})
