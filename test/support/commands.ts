import { spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Test } from 'tap'
import { ROOT } from './markdown.ts'

/** A running command and what it has said so far. */
export class Command {
  out = ''
  err = ''
  /** Settles when the command is over and all it said is here. */
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

  /** Waits until what was said is enough; throws when the command is over before. */
  async until (isEnough: (command: Command) => boolean): Promise<void> {
    while (!isEnough(this)) {
      if (this.#isOver) throw new Error(`the command ended before it said what was waited for:\n${this.out}${this.err}`)
      await new Promise<void>(resolve => { this.#waiting.add(resolve) })
    }
  }

  get pid (): number { return this.#child.pid! }

  /** Sends a signal; nothing happens when the command is over. */
  kill (signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  /** Waits for the end and says how it came: the exit code, or the signal that nothing handled. */
  async exit (): Promise<number | NodeJS.Signals | null> {
    await this.ended
    return this.#exit.signal ?? this.#exit.code
  }

  /** Ends the command as Ctrl-C does, and waits for its end. */
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

/** Runs a program in the root of the repository; it is stopped with the test. */
export function run (t: Test, file: string, args: readonly string[], env: Record<string, string> = {}): Command {
  const command = new Command(file, args, env)
  t.teardown(() => command.stop())
  return command
}

/**
 * Runs a Node program whose lines other tests count: without what tap makes of every Node process it meets, it starts in
 * half the time.
 */
export function runUncounted (t: Test, args: readonly string[], env: Record<string, string> = {}): Command {
  return run(t, 'env', ['-u', 'NODE_OPTIONS', process.execPath, ...args], env)
}

/** Runs the built service, on a free port and in a folder of its own unless told otherwise; it may well fail. */
export function runService (t: Test, env: Record<string, string> = {}): Command {
  return run(t, process.execPath, ['service/dist/cli.js'], { PORT: '0', ...env, DATA_DIR: env.DATA_DIR ?? t.testdir() })
}

/** Starts the built service on a free port, on files of its own; `origin` is where it listens. */
export async function startService (t: Test, env: Record<string, string> = {}): Promise<{ service: Command, origin: string }> {
  const service = runService(t, env)
  await service.until(({ err }) => err.includes('resumable-sse listens on '))
  return { service, origin: originIn(service.err) }
}

/** The first http origin a text names. */
export function originIn (text: string): string {
  const origin = /https?:\/\/(\d+(?:\.\d+){3}|\[[:0-9a-f]+\]):\d+/.exec(text)?.[0]
  if (origin === undefined) throw new Error(`no origin in: ${text}`)
  return origin
}
