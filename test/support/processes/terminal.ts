import { PassThrough, Writable } from 'node:stream'
import { main } from '../../../service/cli/main.ts'
import { Inbox } from '../clients/inbox.ts'

/** One call of the command in this process: its output, and its exit code. */
export class CommandCall {
  readonly stdin = new PassThrough()
  readonly out = new Inbox()
  readonly err = new Inbox()
  /** Resolves to the exit code. */
  readonly code: Promise<number | undefined>
  readonly #leaving = new AbortController()

  /** `isTerminal`: stdin is a terminal and not a pipe. */
  constructor (argv: string[], env: Record<string, string> = {}, { isTerminal = false } = {}) {
    Object.assign(this.stdin, { isTTY: isTerminal })
    const { signal } = this.#leaving
    this.code = main(argv, env, {
      stdin: this.stdin, stdout: into(this.out), stderr: into(this.err), signal, catchSignals: () => signal
    })
  }

  /** Acts as Ctrl-C does. */
  leave (): void {
    this.#leaving.abort('SIGINT')
  }

  /** All of its output and its exit code, when it has ended. */
  async result (): Promise<{ code: number | undefined, out: string, err: string }> {
    const code = await this.code
    return { code, out: this.out.text, err: this.err.text }
  }
}

function into (inbox: Inbox): Writable {
  return new Writable({
    write (chunk: Buffer, encoding, done) {
      inbox.add(chunk)
      done()
    }
  })
}

/** The same for a command that ends by itself and reads nothing. */
export function runCommand (argv: string[], env: Record<string, string> = {}): ReturnType<CommandCall['result']> {
  const call = new CommandCall(argv, env)
  call.stdin.end()
  return call.result()
}
