import { spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Test } from 'tap'
import { ROOT } from '../documents/markdown.ts'

/** A running command and its output so far. */
export class Command {
  out = ''
  err = ''
  /** Settles when the command has exited and all of its output has arrived. */
  readonly ended: Promise<void>
  readonly #child
  #isOver = false
  #exit: { code: number | null, signal: NodeJS.Signals | null } = { code: null, signal: null }
  readonly #waiting = new Set<() => void>()

  constructor (file: string, args: readonly string[], env: Record<string, string>) {
    const child = spawn(file, args, { cwd: ROOT, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.out += text
      this.#wake()
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.err += text
      this.#wake()
    })
    this.#child = child
    this.ended = once(child, 'close').then(([code, signal]) => {
      this.#isOver = true
      this.#exit = { code, signal }
      this.#wake()
    })
  }

  /** Waits until the output is sufficient; throws if the command exits before. */
  async until (isEnough: (command: Command) => boolean): Promise<void> {
    while (!isEnough(this)) {
      if (this.#isOver) throw new Error(`the command ended before it said what was waited for:\n${this.out}${this.err}`)
      await new Promise<void>(resolve => { this.#waiting.add(resolve) })
    }
  }

  get pid (): number { return this.#child.pid! }

  /** Sends a signal; does nothing if the command has exited. */
  kill (signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  /** Waits for the end; returns the exit code, or the signal that ended the process. */
  async exit (): Promise<number | NodeJS.Signals | null> {
    await this.ended
    return this.#exit.signal ?? this.#exit.code
  }

  /** Ends the command as Ctrl-C does, and waits for it to exit. */
  async stop (): Promise<void> {
    this.kill('SIGINT')
    await this.ended
  }

  #wake (): void {
    const waiting = [...this.#waiting]
    this.#waiting.clear()
    for (const wake of waiting) wake()
  }
}

/** Runs a program in the root of the repository; it is stopped after the test. */
export function run (t: Test, file: string, args: readonly string[], env: Record<string, string> = {}): Command {
  const command = new Command(file, args, env)
  t.teardown(() => command.stop())
  return command
}

/** Runs a Node program whose coverage is measured elsewhere: without tap's environment it starts in half the time. */
export function runUncounted (t: Test, args: readonly string[], env: Record<string, string> = {}): Command {
  return run(t, 'env', ['-u', 'NODE_OPTIONS', process.execPath, ...args], env)
}

/** Runs the built service, by default on a free port and in a new folder; the start may fail. */
export function runService (t: Test, env: Record<string, string> = {}): Command {
  return run(t, process.execPath, ['service/dist/cli.js'], { PORT: '0', ...env, DATA_DIR: env.DATA_DIR ?? t.testdir() })
}

/** Starts the built service on a free port, with its own files; `origin` is where it listens. */
export async function startService (
  t: Test,
  env: Record<string, string> = {}
): Promise<{ service: Command, origin: string }> {
  const service = runService(t, env)
  await service.until(({ err }) => err.includes('resumable-sse listens on '))
  return { service, origin: originIn(service.err) }
}

/** The first http origin in a text. */
export function originIn (text: string): string {
  const origin = /https?:\/\/(\d+(?:\.\d+){3}|\[[:0-9a-f]+\]):\d+/.exec(text)?.[0]
  if (origin === undefined) throw new Error(`no origin in: ${text}`)
  return origin
}
