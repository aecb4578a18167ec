import type { Test } from 'tap'
import { originIn, run, runUncounted } from '../processes/commands.ts'
import type { Command } from '../processes/commands.ts'
import { blocksOf } from '../documents/markdown.ts'

const SHOWN_ORIGIN = 'http://127.0.0.1:8080'
const EVENT_ID = /\b\d{13}-(\d+)\b/g

/**
 * One action of the reader, or the output in the terminal of the last `curl -N`. A `^C` at the end stops that command.
 */
export interface Step { kind: 'export' | 'start' | 'listen' | 'call' | 'more', command: string, shown: string }

/** The steps that a document shows in a terminal, in order; of one section, or of all. */
export function stepsOf (file: string, section?: string): Step[] {
  const blocks = blocksOf(file).filter(block => section === undefined || block.section === section)
  return blocks.flatMap(({ language, text }): Step[] => {
    if (language === 'text') return [{ kind: 'more', command: '', shown: text }]
    return text.split(/^\$ /m).slice(1).map(part => {
      const [command = '', ...shown] = part.split('\n')
      const kind = command.startsWith('export ')
        ? 'export'
        : /^([A-Z_]+=\S* )*npm /.test(command) ? 'start' : command.startsWith('curl -N') ? 'listen' : 'call'
      return { kind, command, shown: shown.join('\n') }
    })
  })
}

/** Follows a document with real commands; event ids may differ from the shown ones only in their clock. */
export class Session {
  readonly #t: Test
  readonly #ids = new Map<string, string>()
  #origin = ''
  readonly #env: Record<string, string> = {}
  #listener: Command | undefined
  #shownSoFar = ''

  constructor (t: Test) { this.#t = t }

  /** Performs one step and compares the output with the document. */
  async take ({ kind, command, shown }: Step): Promise<void> {
    if (kind === 'export') return this.#export(command)
    if (kind === 'start') return this.#start(command, shown)
    if (kind === 'call') return this.#call(command, shown)
    if (kind === 'listen') {
      this.#listener = this.#run(command)
      this.#shownSoFar = ''
    }
    await this.#see(command, shown)
  }

  /** `export NAME=VALUE`, for everything that follows. */
  async #export (command: string): Promise<void> {
    const [, name = ''] = /^export ([A-Z_]+)=/.exec(command) ?? []
    const shell = run(this.#t, 'bash', ['-c', `${command}; printf %s "$${name}"`])
    await shell.ended
    this.#env[name] = shell.out
  }

  /** Variables precede the command. */
  async #start (command: string, shown: string): Promise<void> {
    const env = Object.fromEntries(
      [...command.matchAll(/([A-Z_]+)=(\S*) /g)].map(([, name, value]) => [name, value] as [string, string])
    )
    // If the steps take long there is a heartbeat, which the document does not show.
    const service = runUncounted(this.#t, ['service/dist/cli.js'], {
      PORT: '0', DATA_DIR: this.#t.testdir(), HEARTBEAT_MS: '600000', ...this.#env, ...env
    })
    await service.until(({ err }) => err.includes('resumable-sse listens on '))
    this.#origin = originIn(service.err)
    this.#t.equal(this.#comparable(service.err), comparable(shown), 'npm start')
  }

  async #call (command: string, shown: string): Promise<void> {
    const call = this.#run(command)
    await call.ended
    for (const [id, n] of call.out.matchAll(EVENT_ID)) this.#ids.set(n!, id)
    this.#t.equal(this.#comparable(call.out), comparable(shown), command)
  }

  async #see (command: string, shown: string): Promise<void> {
    const listener = this.#listener!
    this.#shownSoFar += `${shown.replace(/\^C$/, '')}\n`
    const expected = comparable(this.#shownSoFar)
    await listener.until(({ out }) => this.#comparable(out).length >= expected.length)
    if (shown.endsWith('^C')) await listener.stop()
    this.#t.equal(this.#comparable(listener.out), expected, command || 'what the listener sees next')
  }

  #run (command: string): Command {
    const real = command.replaceAll(SHOWN_ORIGIN, this.#origin)
      .replace(EVENT_ID, (id, n: string) => this.#ids.get(n) ?? id)
    return run(this.#t, 'bash', ['-c', `exec ${real}`], this.#env)
  }

  #comparable (said: string): string {
    return comparable(said.replaceAll(this.#origin, SHOWN_ORIGIN).replaceAll(this.#t.testdirName, 'data'))
  }
}

/** Ignores the clock parts of ids, spaces at line ends, and empty lines at both ends. */
function comparable (text: string): string {
  return text.replace(EVENT_ID, '<ms>-$1').replace(/[ \t]+$/gm, '').trim()
}
