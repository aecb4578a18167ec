import { readFile } from 'node:fs/promises'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { errors } from '../errors.ts'

const own = (name: string): URL => new URL(`../console/${name}`, import.meta.url)
const parser = (name: string): URL => new URL(import.meta.resolve(name))

/** What the page is made of, by path. */
const FILES: Record<string, { file: URL, type: string }> = {
  '/console': { file: own('index.html'), type: 'text/html; charset=utf-8' },
  '/console/console.css': { file: own('console.css'), type: 'text/css; charset=utf-8' },
  '/console/console.js': { file: own('console.js'), type: 'text/javascript; charset=utf-8' },
  '/console/eventsource-parser/stream.js': {
    file: parser('eventsource-parser/stream'),
    type: 'text/javascript; charset=utf-8'
  },
  '/console/eventsource-parser/index.js': { file: parser('eventsource-parser'), type: 'text/javascript; charset=utf-8' }
}

/** The page runs its own scripts and talks to this service, and nothing else. */
const HEADERS = {
  'cache-control': 'no-cache',
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff'
}

/** `GET /console`: a page to listen and publish with. It holds no secret, and may do what its user's token may. */
export async function consoleRoute (app: FastifyInstance): Promise<void> {
  for (const [url, { file, type }] of Object.entries(FILES)) {
    const content = await readFile(file)
    app.get(url, { schema: { hide: true } }, (request, reply) => reply.headers(HEADERS).type(type).send(content))
  }
  // Browsers ask for it with every page; the console has none.
  app.get('/favicon.ico', { schema: { hide: true } }, (request, reply) =>
    reply.header('cache-control', 'max-age=86400').code(204).send()
  )
  app.get('/', { schema: { hide: true } }, leadToConsole)
}

/** Relative, as a proxy may serve the service below a path. Only for browsers: for a program there is no such path. */
async function leadToConsole (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  if (!request.headers.accept?.includes('text/html')) throw new errors.SERVICE_NO_SUCH_PATH('/')
  return reply.header('vary', 'accept').redirect('console', 303)
}
