import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { deferred } from '../../../../plugin/common/deferred.ts'
import type { Deferred } from '../../../../plugin/common/deferred.ts'
import type { Call, LogChoice, ProgramSaid } from './producer-program.ts'
import type { NodeSaid } from './producer-node.ts'
import type { Host, NodeCalls } from './producer-host.ts'
import { KILLED } from './producer-host.ts'

const PROGRAM = fileURLToPath(new URL('producer-program.ts', import.meta.url))

type Answer = { value?: unknown, error?: string }

interface Child { process: ChildProcess, ready: Promise<void>, calls: Map<number, Deferred<Answer>> }

/** A node in a separate process, which is killed and stopped with signals. The next process is already running. */
export class ProducerProcess implements Host {
  readonly #choice: LogChoice
  readonly #onSaid: (said: NodeSaid) => void
  #child: Child
  #spare: Child | undefined
  #calls = 0

  private constructor (choice: LogChoice, onSaid: (said: NodeSaid) => void) {
    this.#choice = choice
    this.#onSaid = onSaid
    this.#child = this.#fork()
  }

  static async start (t: Test, choice: LogChoice, onSaid: (said: NodeSaid) => void): Promise<ProducerProcess> {
    const host = new ProducerProcess(choice, onSaid)
    t.teardown(() => host.#end())
    await host.#child.ready
    return host
  }

  readonly node: NodeCalls = {
    produce: order => this.#call('produce', order),
    read: (topic, cursor) => this.#call('read', topic, cursor),
    lease: (topic, request) => this.#call('lease', topic, request),
    ends: topic => this.#call('ends', topic),
    entries: topic => this.#call('entries', topic)
  }

  /** kill -9; another process takes its place. */
  async kill (): Promise<void> {
    const { process, calls } = this.#child
    await kill(process)
    for (const call of calls.values()) call.settle({ error: KILLED })
    // A folder of LMDB has one owner.
    this.#child = this.#spare ?? this.#fork()
    this.#spare = 'redis' in this.#choice ? this.#fork() : undefined
    await this.#child.ready
  }

  async pause (): Promise<void> { this.#child.process.kill('SIGSTOP') }
  async resume (): Promise<void> { this.#child.process.kill('SIGCONT') }

  #fork (): Child {
    const process = fork(PROGRAM, [JSON.stringify(this.#choice)])
    const ready = deferred<void>()
    const child: Child = { process, ready: ready.promise, calls: new Map() }
    process.setMaxListeners(0)
    process.on('message', (said: ProgramSaid) => {
      if (said.kind === 'ready') ready.settle()
      else if (said.kind === 'answer') child.calls.get(said.call)?.settle(said)
      else if (child === this.#child) this.#onSaid(said)
    })
    return child
  }

  async #call<T> (method: Call['method'], ...args: unknown[]): Promise<T> {
    const child = this.#child
    await child.ready
    const number = ++this.#calls
    const answer = deferred<Answer>()
    child.calls.set(number, answer)
    child.process.send({ number, method, args } satisfies Call, error => {
      if (error) answer.settle({ error: KILLED })
    })
    const { value, error } = await answer.promise
    if (error !== undefined) throw new Error(error)
    return value as T
  }

  async #end (): Promise<void> {
    for (const child of [this.#child, this.#spare]) if (child) await kill(child.process)
  }
}

async function kill (process: ChildProcess): Promise<void> {
  if (process.exitCode !== null || process.signalCode !== null) return
  // All of its messages have arrived when its channel is closed.
  const gone = [once(process, 'exit'), once(process, 'disconnect')]
  process.kill('SIGKILL')
  await Promise.all(gone)
}
