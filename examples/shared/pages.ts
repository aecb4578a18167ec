import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { FastifyInstance } from 'fastify'

/** The files of a page, by path. `npm run build` puts them next to the server, with the page's imports bundled. */
const FILES = [
  { path: '/', file: 'index.html', type: 'text/html; charset=utf-8' },
  { path: '/page.js', file: 'page.js', type: 'text/javascript; charset=utf-8' },
  { path: '/style.css', file: 'style.css', type: 'text/css; charset=utf-8' }
]

/** The page runs only its own script and connects only to its own server. */
const HEADERS = {
  'cache-control': 'no-cache',
  'content-security-policy': "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; " +
    "img-src data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff'
}

/** Serves the page of an example from `folder`. Your own app would use @fastify/static and @fastify/helmet. */
export async function pages (app: FastifyInstance, { folder }: { folder: string }): Promise<void> {
  for (const { path, file, type } of FILES) {
    const content = await readFile(join(folder, file))
    app.get(path, (request, reply) => reply.headers(HEADERS).type(type).send(content))
  }
}
