import { createServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'

type Step = (response: ServerResponse, request: IncomingMessage) => void

/** A server that responds to each request with the next step of a script, and repeats the last step. */
export class ScriptedServer {
  /** The requests, in order. */
  readonly requests: IncomingMessage[] = []
  readonly #server = createServer((request, response) => {
    const step = this.#steps[Math.min(this.requests.length, this.#steps.length - 1)]!
    this.requests.push(request)
    step(response, request)
  })

  readonly #steps: readonly Step[]

  private constructor (steps: readonly Step[]) {
    this.#steps = steps
  }

  static async start (t: Test, ...steps: Step[]): Promise<ScriptedServer> {
    const server = new ScriptedServer(steps)
    await new Promise<void>(resolve => server.#server.listen(0, '127.0.0.1', resolve))
    t.teardown(() => server.stop())
    return server
  }

  get url (): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/events`
  }

  stop (): void {
    this.#server.close()
    this.#server.closeAllConnections()
  }
}

const HEADERS = { 'content-type': 'text/event-stream' }

/** A stream that starts with this text and stays open. */
export const streaming = (text: string): Step => response => { response.writeHead(200, HEADERS).write(text) }
/** A stream of this text that ends. */
export const ending = (text: string): Step => response => { response.writeHead(200, HEADERS).end(text) }
/** A stream of this text whose connection breaks. */
export const breaking = (text: string): Step => response => {
  response.writeHead(200, HEADERS).write(text, () => response.destroy())
}
export const status = (code: number, headers: Record<string, string> = {}, body = ''): Step => response => {
  response.writeHead(code, headers).end(body)
}
