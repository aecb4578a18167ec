import { connect } from 'node:net'
import type { Socket } from 'node:net'

export interface Answer { status: number, body: string }

/** Servers close connections that are idle for 5 s. */
const MAX_IDLE_MS = 2_000

/**
 * A bare keep-alive connection with one request at a time: a full HTTP client would cost more than the measured server.
 * It only reads responses with `Content-Length`.
 */
export class HttpConnection {
  readonly #socket: Socket
  #received = ''
  #usedAtMs = performance.now()
  #settle: { resolve: (answer: Answer) => void, reject: (error: Error) => void } | undefined

  constructor (port: number) {
    this.#socket = connect(port, '127.0.0.1').setNoDelay(true)
    this.#socket.setEncoding('latin1')
    this.#socket.on('data', (text: unknown) => this.#read(text as string))
    this.#socket.on('error', error => this.#fail(error))
    this.#socket.on('close', () => this.#fail(new Error('the server closed the connection')))
  }

  /** False if the server may have closed it. */
  get isUsable (): boolean { return performance.now() - this.#usedAtMs < MAX_IDLE_MS }

  close (): void {
    this.#settle = undefined
    this.#socket.destroy()
  }

  /** Rejects if the connection ends first. */
  async post (path: string, contentType: string, body: string): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.#settle = { resolve, reject }
      this.#socket.write(
        `POST ${path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: ${contentType}\r\n` +
        `content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
      )
    })
  }

  #read (text: string): void {
    this.#received += text
    const headEnd = this.#received.indexOf('\r\n\r\n')
    if (headEnd === -1) return
    const length = Number(/\r\ncontent-length: *(\d+)/i.exec(this.#received)?.[1] ?? 0)
    const end = headEnd + 4 + length
    if (this.#received.length < end) return
    const answer = { status: Number(this.#received.slice(9, 12)), body: this.#received.slice(headEnd + 4, end) }
    this.#received = this.#received.slice(end)
    this.#usedAtMs = performance.now()
    this.#settle?.resolve(answer)
  }

  #fail (error: Error): void {
    this.#settle?.reject(error)
  }
}
