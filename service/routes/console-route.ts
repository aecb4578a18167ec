import { readFile } from 'node:fs/promises'
import type { FastifyInstance } from 'fastify'

const own = (name: string): URL => new URL(`../console/${name}`, import.meta.url)
const parser = (name: string): URL => new URL(import.meta.resolve(name))

/** What the page is made of, by path. */
const FILES: Record<string, { file: URL, type: string }> = {
  '/console': { file: own('index.html'), type: 'text/html; charset=utf-8' },
  '/console/console.css': { file: own('console.css'), type: 'text/css; charset=utf-8' },
  '/console/console.js': { file: own('console.js'), type: 'text/javascript; charset=utf-8' },
  '/console/eventsource-parser/stream.js': { file: parser('eventsource-parser/stream'), type: 'text/javascript; charset=utf-8' },
  '/console/eventsource-parser/index.js': { file: parser('eventsource-parser'), type: 'text/javascript; charset=utf-8' }
}

/** The page runs its own scripts and talks to this service, and nothing else. */
const HEADERS = {
  'cache-control': 'no-cache',
  'content-security-policy': "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff'
}

/** `GET /console`: a page to listen and publish with. It holds no secret, and may do what its user's token may. */
export async function consoleRoute (app: FastifyInstance): Promise<void> {
  for (const [url, { file, type }] of Object.entries(FILES)) {
    const content = await readFile(file)
    app.get(url, { schema: { hide: true } }, (request, reply) => reply.headers(HEADERS).type(type).send(content))
  }
}
