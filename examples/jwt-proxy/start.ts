import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { start, startNginx } from '../shared/processes.ts'

// nginx listens on this port, the app on the next one.
const port = Number(process.env.PORT ?? 3000)
// From your secret store: a new secret invalidates all tokens.
const env = { PORT: String(port + 1), JWT_SECRET: process.env.JWT_SECRET ?? randomBytes(32).toString('hex') }

start(process.execPath, [join(import.meta.dirname, 'app.js')], env)
startNginx(join(import.meta.dirname, 'nginx.conf'), port)
console.log(`open http://127.0.0.1:${port}, and end all with Ctrl-C or kill ${process.pid}`)
