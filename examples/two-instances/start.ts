import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { start, startNginx } from '../shared/processes.ts'

// nginx listens on this port, the instances on the next two, Redis on the one after.
const port = Number(process.env.PORT ?? 3000)
const redisPort = String(port + 3)
const folder = process.env.DATA_DIR ?? 'data/two-instances'

mkdirSync(folder, { recursive: true })
// Events survive a restart of Redis, too.
const durable = ['--appendonly', 'yes', '--save', '']
start('redis-server', [
  '--port', redisPort, '--bind', '127.0.0.1', '--dir', folder, '--loglevel', 'warning', ...durable
])
for (const instance of [1, 2]) {
  const env = { INSTANCE: String(instance), PORT: String(port + instance), REDIS_URL: `redis://127.0.0.1:${redisPort}` }
  start(process.execPath, [join(import.meta.dirname, 'instance.js')], env)
}
startNginx(join(import.meta.dirname, 'nginx.conf'), port)
console.log(`open http://127.0.0.1:${port}, and end all with Ctrl-C or kill ${process.pid}`)
