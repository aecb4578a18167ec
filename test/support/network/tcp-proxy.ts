import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'
import type { Test } from 'tap'

/**
 * A proxy in front of a server, like a load balancer: it can cut its connections, drop all data that passes through
 * them (a network that fails silently), reject new ones and switch to another server.
 */
export class TcpProxy {
  #target: number
  #isDown = false
  #isSilent = false
  readonly #server: Server
  readonly #pairs = new Set<[Socket, Socket]>()
  /** What the client of a connection has sent so far. */
  readonly #said = new WeakMap<Socket, string>()

  private constructor (target: number) {
    this.#target = target
    this.#server = createServer(client => this.#accept(client))
  }

  static async start (t: Test, target: number): Promise<TcpProxy> {
    const proxy = new TcpProxy(target)
    proxy.#server.listen(0, '127.0.0.1')
    await once(proxy.#server, 'listening')
    t.teardown(() => {
      proxy.cut()
      proxy.#server.close()
    })
    return proxy
  }

  get port (): number { return (this.#server.address() as AddressInfo).port }
  get url (): string { return `redis://127.0.0.1:${this.port}` }

  /** Closes every connection. */
  cut (): void {
    for (const pair of this.#pairs) for (const socket of pair) socket.destroy()
  }

  /** Rejects new connections, and cuts existing ones; until `up`. */
  down (): void {
    this.#isDown = true
    this.cut()
  }

  up (): void { this.#isDown = false }

  /** Drops all data in both directions without closing anything. */
  silence (): void {
    this.#isSilent = true
    for (const pair of this.#pairs) for (const socket of pair) socket.pause()
  }

  /** Drops what the server sends on connections whose client has sent this text; other connections are not affected. */
  deafen (said: string): void {
    for (const [client, server] of this.#pairs) if (this.#said.get(client)?.includes(said)) server.pause()
  }

  unsilence (): void {
    this.#isSilent = false
    for (const pair of this.#pairs) for (const socket of pair) socket.resume()
  }

  /** Forwards to another server from now on. */
  lead (target: number): void {
    this.#target = target
    this.cut()
  }

  #accept (client: Socket): void {
    if (this.#isDown) {
      client.destroy()
      return
    }
    const server = connect(this.#target, '127.0.0.1')
    const pair: [Socket, Socket] = [client, server]
    this.#pairs.add(pair)
    client.on('data', (chunk: Buffer) => {
      this.#said.set(client, (this.#said.get(client) ?? '') + chunk.toString('latin1'))
    })
    for (const [from, to] of [[client, server], [server, client]] as const) {
      from.on('data', chunk => { to.write(chunk) })
      from.on('error', () => {})
      from.on('close', () => {
        to.destroy()
        this.#pairs.delete(pair)
      })
      if (this.#isSilent) from.pause()
    }
  }
}
