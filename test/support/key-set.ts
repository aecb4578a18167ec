import { createServer } from 'node:http'
import type { KeyObject } from 'node:crypto'
import type { AddressInfo } from 'node:net'
import { once } from 'node:events'
import type { Test } from 'tap'

/** An issuer's JWK Set on a real port: the keys may be changed, and it may be away. */
export class KeySetServer {
  readonly url: string
  keys: { kid: string, key: KeyObject, alg: string }[] = []
  /** What it answers instead of the keys; `silence` is no answer at all. */
  failure: number | 'no json' | 'no key set' | 'silence' | undefined
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
    if (this.failure === 'no key set') return '{"keys":7}'
    return JSON.stringify({ keys: this.keys.map(({ kid, key, alg }) => ({ ...key.export({ format: 'jwk' }), kid, alg })) })
  }
}
