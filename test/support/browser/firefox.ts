import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as pause } from 'node:timers/promises'
import type { Test } from 'tap'
import { WebSocket } from 'undici'
import { emptyFolder } from '../documents/packages.ts'
import { stablePort } from '../network/ports.ts'

interface Answer { id: number, type: string, message?: string, result?: Record<string, unknown> }

/** One page in Debian's Firefox with a new, empty profile, driven by WebDriver BiDi; closed after the test. */
export class FirefoxPage {
  readonly #socket: WebSocket
  readonly #waiting = new Map<number, (answer: Answer) => void>()
  #context: unknown
  #calls = 0

  private constructor (socket: WebSocket) {
    this.#socket = socket
    socket.onmessage = ({ data }) => {
      const answer = JSON.parse(String(data)) as Answer
      this.#waiting.get(answer.id)?.(answer)
    }
  }

  /** Settles when the page at this URL is loaded. */
  static async open (t: Test, url: string): Promise<FirefoxPage> {
    const folder = emptyFolder(t)
    const port = await stablePort()
    const args = ['--headless', '--no-remote', '--profile', folder, '--remote-debugging-port', `${port}`]
    const firefox = spawn('firefox-esr', args, {
      stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, HOME: folder }
    })
    const ended = once(firefox, 'exit')
    t.teardown(async () => {
      firefox.kill('SIGKILL')
      await ended
    })
    let said = ''
    for await (const chunk of firefox.stderr) if ((said += String(chunk)).includes('WebDriver BiDi listening')) break
    firefox.stderr.resume()
    const socket = new WebSocket(`ws://127.0.0.1:${port}/session`)
    await once(socket as never, 'open')
    const page = new FirefoxPage(socket)
    await page.#goto(url)
    return page
  }

  /** The value of an expression in the page, as text. */
  async evaluate (expression: string): Promise<string> {
    const target = { context: this.#context }
    const { result } = await this.#call('script.evaluate', {
      expression: `String(${expression})`, target, awaitPromise: true
    })
    return String((result as { value?: unknown } | undefined)?.value)
  }

  /** Waits until an expression is true in the page. */
  async until (expression: string): Promise<void> {
    while (await this.evaluate(`Boolean(${expression})`) !== 'true') await pause(50)
  }

  async #goto (url: string): Promise<void> {
    await this.#call('session.new', { capabilities: {} })
    const { contexts } = await this.#call('browsingContext.getTree', {}) as { contexts: { context: unknown }[] }
    this.#context = contexts[0]!.context
    await this.#call('browsingContext.navigate', { context: this.#context, url, wait: 'complete' })
  }

  async #call (method: string, params: object): Promise<Record<string, unknown>> {
    const id = ++this.#calls
    const answered = new Promise<Answer>(resolve => { this.#waiting.set(id, resolve) })
    this.#socket.send(JSON.stringify({ id, method, params }))
    const { type, message, result = {} } = await answered
    if (type !== 'success') throw new Error(`${method}: ${message}`)
    return result
  }
}
