import { createServer } from 'node:http'
import type { KeyObject } from 'node:crypto'
import type { AddressInfo } from 'node:net'
import { once } from 'node:events'
import type { Test } from 'tap'

/** An issuer's JWK Set on a real port: the keys can be changed, and the server can be made unavailable. */
export class KeySetServer {
  readonly url: string
  keys: { kid: string, key: KeyObject, alg: string }[] = []
  /** The response instead of the keys; `silence` means no response at all. */
  failure: number | 'no json' | 'no key set' | 'too large' | 'silence' | undefined
  fetches = 0

  private constructor (url: string) { this.url = url }

  static async start (t: Test): Promise<KeySetServer> {
    const server = createServer((request, response) => {
      issuer.fetches++
      if (issuer.failure === 'silence') return
      if (typeof issuer.failure === 'number') response.writeHead(issuer.failure)
      response.end(issuer.#body())
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const issuer = new KeySetServer(`http://127.0.0.1:${(server.address() as AddressInfo).port}/keys`)
    t.teardown(() => { server.closeAllConnections(); server.close() })
    return issuer
  }

  #body (): string {
    if (this.failure === 'no json') return '<html>'
    if (this.failure === 'too large') return `{"keys":[]${' '.repeat(1024 * 1024)}}`
    if (this.failure === 'no key set') return '{"keys":7}'
    return JSON.stringify({
      keys: this.keys.map(({ kid, key, alg }) => ({ ...key.export({ format: 'jwk' }), kid, alg }))
    })
  }
}
