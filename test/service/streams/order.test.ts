import t from 'tap'
import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import { authentication } from '../../../service/auth.ts'
import { readConfig } from '../../../service/index.ts'
import { bodies } from '../../../service/http/bodies/bodies.ts'
import { ByteBudget } from '../../../service/http/bodies/byte-budget.ts'
import { bodyGate } from '../../../service/http/bodies/body-gate.ts'
import { methods, otherMethods } from '../../../service/http/methods.ts'
import { streaming } from '../../../service/streams/sse.ts'

const config = readConfig({ LOG: 'memory' })

// Regression: each of them did nothing, or only half of its work, when it was called too early or too late.
t.test('a plugin that requires another one fails the start without it', async t => {
  const early = {
    authentication: (app: FastifyInstance) => app.register(authentication, { config }),
    bodies: (app: FastifyInstance) => app.register(bodies, config),
    bodyGate: (app: FastifyInstance) => app.register(bodyGate, { budget: new ByteBudget(1), requestMs: 1 }),
    methods: (app: FastifyInstance) => app.register(methods),
    otherMethods: (app: FastifyInstance) => app.register(otherMethods),
    streaming: (app: FastifyInstance) => app.register(streaming, config)
  }
  for (const [name, register] of Object.entries(early)) {
    const app = Fastify()
    t.teardown(() => app.close())
    await t.rejects(async () => register(app), { code: 'FST_ERR_PLUGIN_DEPENDENCY_NOT_REGISTERED' }, name)
  }
})
