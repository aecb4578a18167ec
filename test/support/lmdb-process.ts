import { fork, spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import type { LmdbLogOptions } from '../../plugin/topics/log/lmdb/index.ts'
import type { Order, Said } from './lmdb-program.ts'

const PROGRAM = fileURLToPath(new URL('lmdb-program.ts', import.meta.url))

/** An LMDB log in a process of its own; it goes with the test. */
export class LmdbProcess {
  /** Everything it said was acknowledged, by number. */
  readonly acknowledged = new Map<number, string>()
  readonly #child: ChildProcess
  readonly #answers = new Map<number, (said: Extract<Said, { kind: 'answer' }>) => void>()
  #orders = 0
  #stderr = ''

  constructor (t: Test, options: LmdbLogOptions) {
    // Its output is piped: inherited, it could be a file, and the bound on the size of files would count for that, too.
    this.#child = fork(PROGRAM, [JSON.stringify(options)], { silent: true })
    this.#child.setMaxListeners(0)
    this.#child.stdout?.resume()
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => { this.#stderr += text })
    this.#child.on('message', (said: Said) => { this.#hear(said) })
    t.teardown(() => this.#end())
  }

  /** What came of an order; rejects with the error's code when it failed, and when the process ended before. */
  async call<T = unknown> (order: Order): Promise<T> {
    const number = ++this.#orders
    const answer = new Promise<Extract<Said, { kind: 'answer' }>>((resolve, reject) => {
      this.#answers.set(number, resolve)
      this.#child.once('exit', (code, signal) => { reject(new Error(`the process ended: ${code} ${signal}\n${this.#stderr}`)) })
    })
    this.#child.send({ order, number })
    const { code, value } = await answer
    if (code !== undefined) throw Object.assign(new Error(code), { code })
    return value as T
  }

  /** Gives an order without waiting for what comes of it. */
  order (order: Order): void {
    this.#child.send({ order, number: ++this.#orders })
  }

  /** Bounds the size of each file it writes, as a disk that is full would; without a size takes the bound away. */
  async limit (maxFileBytes?: number): Promise<void> {
    await once(spawn('prlimit', ['--pid', `${this.#child.pid}`, `--fsize=${maxFileBytes ?? 'unlimited'}:unlimited`]), 'exit')
  }

  /** kill -9; settles when it is gone. */
  async kill (): Promise<void> {
    if (this.#isOver) return
    const gone = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await gone
  }

  /** Lets it end by itself, so that what it covered counts. */
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
