import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { basename } from 'node:path'
import { build } from 'esbuild'
import type { Test } from 'tap'
import { ROOT } from '../documents/markdown.ts'

/**
 * The script of the page: `window.client` is the client, and `start(options)` starts a subscription whose events are
 * recorded in `window.heard`.
 */
const SCRIPT = `
import * as client from 'fastify-resumable-sse/client'
const heard = [], gaps = [], errors = [], states = []
function start ({ native, ...options }) {
  const subscription = (native ? client.subscribeNative : client.subscribe)(options)
  subscription.addEventListener('message', ({ topic, id, data }) => heard.push({ topic, id, data }))
  subscription.addEventListener('gap', ({ detail }) => gaps.push(detail))
  subscription.addEventListener('error', ({ detail }) => errors.push(detail.message))
  subscription.addEventListener('state', ({ detail }) => states.push(detail.state))
  return subscription
}
Object.assign(window, { client, start, heard, gaps, errors, states })
`

/** A server for one page with the bundled client; resolves to its origin. */
export async function startClientSite (t: Test): Promise<string> {
  const { outputFiles } = await build({
    stdin: {
      contents: SCRIPT, resolveDir: ROOT
    },
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'browser',
    outdir: '/client',
    write: false
  })
  const files = new Map(outputFiles.map(({ path, text }) => [`/${basename(path)}`, text]))
  const server = createServer((request, response) => {
    const script = files.get(request.url!)
    if (script !== undefined) response.writeHead(200, { 'content-type': 'text/javascript' }).end(script)
    else {
      response
        .writeHead(200, { 'content-type': 'text/html' })
        .end('<!doctype html><title>client</title><script type="module" src="/stdin.js"></script>')
    }
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => { server.close(); server.closeAllConnections() })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}
