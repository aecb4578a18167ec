import { readFile } from 'node:fs/promises'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { errors } from '../errors.ts'

/** The built page, located by the name of the package, because this module runs both from its source and from dist. */
const FOLDER = new URL('dist/console/', import.meta.resolve('resumable-sse/package.json'))

/** The files of the page, by path. */
const FILES = {
  '/console': { file: 'index.html', type: 'text/html; charset=utf-8' },
  '/console/console.css': { file: 'console.css', type: 'text/css; charset=utf-8' },
  '/console/console.js': { file: 'console.js', type: 'text/javascript; charset=utf-8' }
}

const PUBLIC = { schema: { hide: true }, config: { isPublic: true } }

/** The page runs only its own script and connects only to this service; text never becomes markup or script. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'"
]

const HEADERS = {
  'cache-control': 'no-cache',
  'content-security-policy': POLICY.join('; '),
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff'
}

/**
 * `GET /console`: a page for subscribing and publishing. It contains no secret, and may do only what the user's
 * credentials allow.
 */
export async function consoleRoute (app: FastifyInstance): Promise<void> {
  for (const [url, { file, type }] of Object.entries(FILES)) {
    const content = await readFile(new URL(file, FOLDER))
    app.get(url, PUBLIC, (request, reply) => reply.headers(HEADERS).type(type).send(content))
  }
  // Browsers request it with every page; the console has none.
  app.get('/favicon.ico', PUBLIC, (request, reply) => (
    reply.header('cache-control', 'max-age=86400').code(204).send()
  ))
  app.get('/', PUBLIC, leadToConsole)
}

/**
 * The redirect is relative, because a proxy may serve the service below a path. Only for browsers: for other clients
 * the path does not exist.
 */
async function leadToConsole (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  if (!request.headers.accept?.includes('text/html')) throw new errors.SERVICE_NO_SUCH_PATH('/')
  return reply.header('vary', 'accept').redirect('console', 303)
}
