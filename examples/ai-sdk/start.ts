import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { build } from 'esbuild'
import { start, startNginx } from '../shared/processes.ts'

// nginx listens on this port, the instances on the next two, Redis on the one after.
const port = Number(process.env.PORT ?? 3000)
const redisPort = String(port + 3)
const folder = process.env.DATA_DIR ?? 'data/ai-sdk'
const here = import.meta.dirname

// The page is a React app; your own app would use Vite or Next.js for this.
await build({
  entryPoints: [join(here, 'page.jsx')],
  outfile: join(here, 'page.js'),
  bundle: true,
  format: 'esm',
  jsx: 'automatic',
  minify: true,
  define: { 'process.env.NODE_ENV': '"production"' }
})

mkdirSync(folder, { recursive: true })
const durable = ['--appendonly', 'yes', '--save', '']
start('redis-server', [
  '--port', redisPort, '--bind', '127.0.0.1', '--dir', folder, '--loglevel', 'warning', ...durable
])
for (const instance of [1, 2]) {
  const env = { PORT: String(port + instance), REDIS_URL: `redis://127.0.0.1:${redisPort}` }
  start(process.execPath, [join(here, 'instance.js')], env)
}
startNginx(join(here, 'nginx.conf'), port)
console.log(`open http://127.0.0.1:${port}, and end all with Ctrl-C or kill ${process.pid}`)
