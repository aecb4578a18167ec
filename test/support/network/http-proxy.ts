import { createServer, request } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'

/** Answers a request itself, and returns true; or returns false, and the request is forwarded. */
export type Intercept = (request: IncomingMessage, response: ServerResponse) => boolean

/** An HTTP proxy in front of a server that answers some of the requests itself. Returns its origin. */
export async function startHttpProxy (t: Test, target: string, intercept: Intercept): Promise<string> {
  const server = createServer((received, response) => {
    if (intercept(received, response)) return
    const { method, headers, url } = received
    const sent = request(`${target}${url}`, { method, headers, agent: false }, answer => {
      response.writeHead(answer.statusCode!, answer.headers)
      answer.pipe(response)
    })
    sent.on('error', () => response.destroy())
    response.on('close', () => sent.destroy())
    sent.flushHeaders()
    received.pipe(sent)
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}
