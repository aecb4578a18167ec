import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readdir } from 'node:fs/promises'
import type { Test } from 'tap'
import { ROOT } from '../documents/markdown.ts'

/** The resources of a process after everything possible was released. */
export interface Held {
  heapBytes: number
  /** The kinds of handles that keep the process alive, sorted. */
  handles: string[]
  descriptors: number
}

/** The built service in a separate process, without any code of the tests. */
export class SoakProcess {
  readonly origin: string
  readonly port: number
  readonly #child: ChildProcess

  private constructor (child: ChildProcess, port: number) {
    this.#child = child
    this.port = port
    this.origin = `http://127.0.0.1:${port}`
  }

  static async start (t: Test): Promise<SoakProcess> {
    const child = fork(`${ROOT}test/support/service/soak-server.js`, {
      execArgv: ['--expose-gc'], env: { ...process.env, NODE_OPTIONS: '' }
    })
    t.teardown(async () => {
      child.kill('SIGKILL')
      await once(child, 'exit')
    })
    const [{ port }] = await once(child, 'message') as [{ port: number }]
    return new SoakProcess(child, port)
  }

  async measure (): Promise<Held> {
    this.#child.send('measure')
    const [held] = await once(this.#child, 'message') as [Omit<Held, 'descriptors'>]
    return { ...held, descriptors: (await readdir(`/proc/${this.#child.pid}/fd`)).length }
  }
}
