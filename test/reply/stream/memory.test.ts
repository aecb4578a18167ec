import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import type { FastifyReply } from 'fastify'
import { buildApp, listen } from '../../support/apps/app.ts'
import { open } from '../../support/clients/client.ts'

setFlagsFromString('--expose-gc')
const gc = runInNewContext('gc') as () => void

// Regression: a stream of a topic used 18 KiB, most of which was needed only until its first byte.
t.test('an open stream does not retain its source', async t => {
  const app = await buildApp(t)
  let source: WeakRef<object> | undefined
  app.get('/', (request, reply) => {
    const given = { open: () => () => new Promise<void>(() => {}) }
    source = new WeakRef(given)
    return reply.sse(given)
  })
  const { inbox } = await open(t, await listen(app))
  await inbox.until(':\n')
  await turn()
  gc()
  t.equal(source?.deref(), undefined)
})

t.test('an open stream retains the listeners of the application, and none that only its start needed', async t => {
  const app = await buildApp(t)
  let reply: FastifyReply | undefined
  const own = (): void => {}
  app.addHook('onSend', async (request, reply) => { reply.raw.on('finish', own) })
  app.get('/', (request, given) => {
    reply = given
    void reply.sse()
    return new Promise(() => {})
  })
  const { inbox } = await open(t, await listen(app))
  await inbox.until(':\n')
  await turn()
  const names = reply!.raw.listeners('finish').map(({ name }) => name)
  t.ok(reply!.raw.listeners('finish').includes(own))
  t.notOk(names.includes('onfinish'), names.join())
})

// Fastify waits for the reply with a dozen closures on the response.
t.test('nothing waits for a reply that a handler has returned', async t => {
  const app = await buildApp(t)
  let reply: FastifyReply | undefined
  app.get('/', (request, given) => {
    reply = given
    return given.sse(stream => { stream.push({ data: 1 }) })
  })
  const { inbox } = await open(t, await listen(app))
  await inbox.until(':\n')
  await turn()
  const names = reply!.raw.listeners('finish').map(({ name }) => name)
  t.notOk(names.includes('onfinish'), names.join())
})

t.test('an open stream does not retain the payload that Fastify received for it', async t => {
  const app = await buildApp(t)
  let payload: WeakRef<object> | undefined
  app.addHook('onSend', async (request, reply, given) => { payload = new WeakRef(given as object) })
  app.get('/', (request, reply) => reply.sse(stream => { stream.push({ data: 1 }) }))
  const { inbox } = await open(t, await listen(app))
  await inbox.until('data: 1')
  await turn()
  gc()
  t.equal(payload?.deref(), undefined)
})
