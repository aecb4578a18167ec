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
  #onChange = (): void => {}

  constructor (file: string, args: readonly string[], env: Record<string, string>) {
    const child = spawn(file, args, { cwd: ROOT, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.out += text
      this.#onChange()
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.err += text
      this.#onChange()
    })
    this.#child = child
    this.ended = once(child, 'close').then(() => {
      this.#isOver = true
      this.#onChange()
    })
  }

  /** Waits until what was said is enough; throws when the command is over before. */
  async until (isEnough: (command: Command) => boolean): Promise<void> {
    while (!isEnough(this)) {
      if (this.#isOver) throw new Error(`the command ended before it said what was waited for:\n${this.out}${this.err}`)
      await new Promise<void>(resolve => { this.#onChange = resolve })
    }
  }

  /** Ends the command as Ctrl-C does, and waits for its end. */
  async stop (): Promise<void> {
    this.#child.kill('SIGINT')
    await this.ended
  }
}

/** Runs a program in the root of the repository; it is stopped with the test. */
export function run (t: Test, file: string, args: readonly string[], env: Record<string, string> = {}): Command {
  const command = new Command(file, args, env)
  t.teardown(() => command.stop())
  return command
}

/** Starts the built service on a free port, on files of its own; `origin` is where it listens. */
export async function startService (t: Test, env: Record<string, string> = {}): Promise<{ service: Command, origin: string }> {
  const service = run(t, process.execPath, ['dist/service/cli.js'], { PORT: '0', DATA_DIR: t.testdir(), ...env })
  await service.until(({ err }) => err.includes('Publish:'))
  return { service, origin: originIn(service.err) }
}

/** The first http origin a text names. */
export function originIn (text: string): string {
  const origin = /http:\/\/127\.0\.0\.1:\d+/.exec(text)?.[0]
  if (origin === undefined) throw new Error(`no origin in: ${text}`)
  return origin
}
