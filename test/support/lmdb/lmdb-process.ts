import { fork, spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import type { LmdbLogOptions } from '../../../plugin/topics/log/lmdb/index.ts'
import type { Order, Said } from './lmdb-program.ts'

const PROGRAM = fileURLToPath(new URL('lmdb-program.ts', import.meta.url))

/** An LMDB log in a separate process, which ends with the test. */
export class LmdbProcess {
  /** All acknowledgements that it reported, by number. */
  readonly acknowledged = new Map<number, string>()
  readonly #child: ChildProcess
  readonly #answers = new Map<number, (said: Extract<Said, { kind: 'answer' }>) => void>()
  #orders = 0
  #stderr = ''

  constructor (t: Test, options: LmdbLogOptions) {
    // Its output is piped: if it were inherited, it could be a file, to which the file size limit would apply as well.
    this.#child = fork(PROGRAM, [JSON.stringify(options)], { silent: true })
    this.#child.setMaxListeners(0)
    this.#child.stdout?.resume()
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => { this.#stderr += text })
    this.#child.on('message', (said: Said) => { this.#hear(said) })
    t.teardown(() => this.#end())
  }

  /** The result of an order; rejects with the error's code if the order failed, or if the process exited before. */
  async call<T = unknown> (order: Order): Promise<T> {
    const number = ++this.#orders
    const answer = new Promise<Extract<Said, { kind: 'answer' }>>((resolve, reject) => {
      this.#answers.set(number, resolve)
      this.#child.once('exit', (code, signal) => {
        reject(new Error(`the process ended: ${code} ${signal}\n${this.#stderr}`))
      })
    })
    this.#child.send({ order, number })
    const { code, value } = await answer
    if (code !== undefined) throw Object.assign(new Error(code), { code })
    return value as T
  }

  /** Sends an order without waiting for its result. */
  order (order: Order): void {
    this.#child.send({ order, number: ++this.#orders })
  }

  /** Limits the size of each file that it writes, to simulate a full disk; without a size, removes the limit. */
  async limit (maxFileBytes?: number): Promise<void> {
    await once(
      spawn('prlimit', ['--pid', `${this.#child.pid}`, `--fsize=${maxFileBytes ?? 'unlimited'}:unlimited`]),
      'exit'
    )
  }

  /** Kills it with -9; settles when it has exited. */
  async kill (): Promise<void> {
    if (this.#isOver) return
    const gone = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await gone
  }

  /** Lets it exit by itself, so that its coverage is recorded. */
  async #end (): Promise<void> {
    if (this.#isOver) return
    const gone = once(this.#child, 'exit')
    this.#child.disconnect()
    await gone
  }

  get #isOver (): boolean { return this.#child.exitCode !== null || this.#child.signalCode !== null }

  #hear (said: Said): void {
    if (said.kind === 'answer') this.#answers.get(said.order)?.(said)
    else for (const { n, data } of said.entries) this.acknowledged.set(n, data)
  }
}
