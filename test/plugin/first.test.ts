import t from 'tap'
import { injectSse } from '../../plugin/index.ts'
import { buildApp } from '../support/app.ts'

t.test('a generator is streamed to its end', async t => {
  const app = await buildApp(t)
  app.get('/', (request, reply) => reply.sse(async function * () {
    yield { id: 1, data: 'a' }
    yield { event: 'tick', data: { n: 2 } }
  }))
  const stream = await injectSse(app, '/')
  t.same(await stream.end(), [{ id: '1', event: 'message', data: 'a' }, { id: '1', event: 'tick', data: '{"n":2}' }])
})
