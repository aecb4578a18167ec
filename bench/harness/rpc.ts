import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'

/** The functions of a program that the runner can call by name over the IPC channel. */
export type Handlers = Record<string, (args: never) => unknown>

interface Call { id: number, name: string, args: unknown }
interface Reply { id: number, result?: unknown, error?: string }

/** Answers the calls of the runner. The program exits when the runner does. */
export function serveCalls (handlers: Handlers): void {
  process.on('message', ({ id, name, args }: Call) => {
    const answer = (reply: Omit<Reply, 'id'>): void => { process.send?.({ id, ...reply }) }
    Promise.resolve()
      .then(() => handlers[name]!(args as never))
      .then(result => answer({ result }), (error: Error) => answer({ error: error.stack ?? error.message }))
  })
  process.on('disconnect', () => process.exit(0))
}

/** A program of this folder in a separate process, and calls to it. */
export class Program {
  readonly child: ChildProcess
  readonly #waiting = new Map<number, (reply: Reply) => void>()
  #calls = 0

  private constructor (child: ChildProcess, name: string) {
    this.child = child
    child.on('message', (reply: Reply) => {
      this.#waiting.get(reply.id)?.(reply)
      this.#waiting.delete(reply.id)
    })
    child.on('exit', code => {
      for (const answer of this.#waiting.values()) answer({ id: 0, error: `${name} ended with code ${code}` })
    })
  }

  /** Starts `dist/bench/<name>.js`. Resolves when it is ready for calls. */
  static async start (name: string, env: Record<string, string> = {}): Promise<Program> {
    const child = fork(new URL(`../${name}.js`, import.meta.url), {
      execArgv: ['--expose-gc'],
      env: { ...process.env, ...env }
    })
    const program = new Program(child, name)
    await program.call('ready')
    return program
  }

  get pid (): number { return this.child.pid! }

  /** Rejects with the error of the function, or if the program exits first. */
  async call<T> (name: string, args?: unknown): Promise<T> {
    const id = ++this.#calls
    const reply = await new Promise<Reply>(resolve => {
      this.#waiting.set(id, resolve)
      this.child.send({ id, name, args } satisfies Call)
    })
    if (reply.error !== undefined) throw new Error(reply.error)
    return reply.result as T
  }

  async stop (): Promise<void> {
    if (this.child.exitCode !== null) return
    this.child.kill('SIGKILL')
    await once(this.child, 'exit')
  }
}
