import cookie from '@fastify/cookie'
import cors from '@fastify/cors'
import rateLimit from '@fastify/rate-limit'
import swagger from '@fastify/swagger'
import Fastify from 'fastify'
import { open } from 'lmdb'
import { collectDefaultMetrics } from 'prom-client'

/** A bare Fastify app with the plugins, the metrics and the database of the service. */
const { PORT, DATA_DIR = '' } = process.env
const app = Fastify({ logger: { level: 'warn' } })
for (const plugin of [cookie, cors, rateLimit, swagger]) await app.register(plugin as typeof cookie)
collectDefaultMetrics()
const log = open({ path: `${DATA_DIR}/bare.mdb`, noSubdir: true })
app.get('/readyz', async () => ({ status: log.get('nothing') === undefined ? 'ready' : 'not ready' }))
await app.listen({ host: '127.0.0.1', port: Number(PORT) })
