import type { Test } from 'tap'
import { originIn, run, runUncounted } from './commands.ts'
import type { Command } from './commands.ts'
import { blocksOf } from './markdown.ts'

const SHOWN_ORIGIN = 'http://127.0.0.1:8080'
const EVENT_ID = /\b\d{13}-(\d+)\b/g

/** One thing the reader does, or sees in the terminal of the last `curl -N`. Shown `^C` at the end stops that one. */
export interface Step { kind: 'export' | 'start' | 'listen' | 'call' | 'more', command: string, shown: string }

/** What a document shows to be done in a terminal, in its order; of one section, or of all. */
export function stepsOf (file: string, section?: string): Step[] {
  const blocks = blocksOf(file).filter(block => section === undefined || block.section === section)
  return blocks.flatMap(({ language, text }): Step[] => {
    if (language === 'text') return [{ kind: 'more', command: '', shown: text }]
    return text.split(/^\$ /m).slice(1).map(part => {
      const [command = '', ...shown] = part.split('\n')
      const kind = command.startsWith('export ') ? 'export' : /^([A-Z_]+=\S* )*npm /.test(command) ? 'start' : command.startsWith('curl -N') ? 'listen' : 'call'
      return { kind, command, shown: shown.join('\n') }
    })
  })
}

/** Follows a document with real commands; event ids differ from the shown ones in their clock only. */
export class Session {
  readonly #t: Test
  readonly #ids = new Map<string, string>()
  #origin = ''
  readonly #env: Record<string, string> = {}
  #listener: Command | undefined
  #shownSoFar = ''

  constructor (t: Test) { this.#t = t }

  /** Does one step and compares what is seen with what is shown. */
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

  /** Variables stand in front of the command. */
  async #start (command: string, shown: string): Promise<void> {
    const env = Object.fromEntries([...command.matchAll(/([A-Z_]+)=(\S*) /g)].map(([, name, value]) => [name, value] as [string, string]))
    // A heartbeat on the way, where the steps take long, is not shown.
    const service = runUncounted(this.#t, ['service/dist/cli.js'], { PORT: '0', DATA_DIR: this.#t.testdir(), HEARTBEAT_MS: '600000', ...this.#env, ...env })
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
    const real = command.replaceAll(SHOWN_ORIGIN, this.#origin).replace(EVENT_ID, (id, n: string) => this.#ids.get(n) ?? id)
    return run(this.#t, 'bash', ['-c', `exec ${real}`], this.#env)
  }

  #comparable (said: string): string {
    return comparable(said.replaceAll(this.#origin, SHOWN_ORIGIN).replaceAll(this.#t.testdirName, 'data'))
  }
}

/** Clock parts of ids, spaces at line ends and empty lines at either end do not count. */
function comparable (text: string): string {
  return text.replace(EVENT_ID, '<ms>-$1').replace(/[ \t]+$/gm, '').trim()
}
