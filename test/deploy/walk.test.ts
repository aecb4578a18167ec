import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import { run } from '../support/processes/commands.ts'
import type { Command } from '../support/processes/commands.ts'
import { readCompose } from '../support/documents/deploy.ts'
import { blocksOf, ROOT } from '../support/documents/markdown.ts'
import { startDeployedNginx } from '../support/network/nginx.ts'
import type { DeployedNginx } from '../support/network/nginx.ts'
import { RedisServer } from '../support/redis/redis-server.ts'
import { ServiceProcess } from '../support/service/service-process.ts'

// The walkthrough of docs/deploy.md, step by step. Needs no container engine: the services of compose.yaml are started
// as processes, and `docker compose` acts on them as it would on containers.

/** Short, because most of the time would only serve to spread clients out. */
const SHORT_DRAIN = { DRAIN_DELAY_MS: '100', DRAIN_MS: '500' }

interface Stack { redis: RedisServer, one: ServiceProcess, two: ServiceProcess, front: DeployedNginx }

class Walk {
  /** A copy of the files that the walkthrough changes in the clone. */
  readonly folder = mkdtempSync(join(tmpdir(), 'walk-'))
  readonly #t: Test
  #env: Record<string, string> = {}
  #stack: Stack | undefined
  #listener: Command | undefined

  constructor (t: Test) {
    this.#t = t
    cpSync(join(ROOT, 'deploy'), join(this.folder, 'deploy'), { recursive: true })
    t.teardown(() => rmSync(this.folder, { recursive: true }))
  }

  /** Runs one command and returns its output. */
  async step (command: string): Promise<string> {
    const [, onOne] = /^docker compose up .*--no-deps.* --wait (one|two)$/.exec(command) ?? []
    if (onOne !== undefined) return this.#restart(onOne as 'one' | 'two')
    if (command === 'docker compose up -d --build --wait') return this.#up()
    if (command === 'docker compose restart redis') return this.#restartRedis()
    if (command === 'docker compose exec nginx nginx -s reload') {
      return this.#do(() => this.#running.front.nginx.reload())
    }
    if (command === 'npm ci && npm run build') return ''
    if (command.startsWith('node service/dist/cli.js tail')) return this.#listen(command)
    if (command.startsWith('export ')) return this.#export(command)
    return this.#shell(command)
  }

  /** The output of the second terminal, once it has this many lines. */
  async listened (lines: number): Promise<string> {
    await this.#listener!.until(({ out }) => out.split('\n').length > lines)
    return this.#listener!.out
  }

  get #running (): Stack {
    if (this.#stack === undefined) throw new Error('the walk did not start anything yet')
    return this.#stack
  }

  async #up (): Promise<string> {
    const { services } = readCompose()
    const [file, ...args] = services.redis!.command!
    const redis = await RedisServer.start(this.#t, { command: file!, args })
    const [, secret = ''] = /^JWT_SECRET=(.+)$/m.exec(readFileSync(join(this.folder, '.env'), 'utf8')) ?? []
    const start = (name: 'one' | 'two'): Promise<ServiceProcess> => ServiceProcess.start(this.#t, {
      ...services[name]!.environment, REDIS_URL: redis.url, JWT_SECRET: secret, ...SHORT_DRAIN
    })
    const [one, two] = [await start('one'), await start('two')]
    const tls = { cert: join(this.folder, 'deploy/tls/cert.pem'), key: join(this.folder, 'deploy/tls/key.pem') }
    const front = await startDeployedNginx(this.#t, [one.port, two.port], undefined, tls)
    this.#env = { JWT_SECRET: secret }
    this.#stack = { redis, one, two, front }
    return ''
  }

  async #restart (name: 'one' | 'two'): Promise<string> {
    const instance = this.#running[name]
    return this.#do(async () => {
      await instance.stop()
      this.#t.equal(await instance.command.exit(), 0, `${name} drained`)
      await instance.start()
    })
  }

  #restartRedis (): Promise<string> {
    return this.#do(async () => {
      await this.#running.redis.kill()
      await this.#running.redis.start()
    })
  }

  async #do (action: () => Promise<void>): Promise<string> {
    await action()
    return ''
  }

  async #listen (command: string): Promise<string> {
    this.#listener = this.#bash(command)
    await this.#listener.until(({ err }) => err.includes('listening'))
    return ''
  }

  async #export (command: string): Promise<string> {
    const shown = await this.#shell(`${command}; env -0`)
    for (const [, name = ''] of command.matchAll(/(\w+)=/g)) {
      const value = shown.split('\0').find(line => line.startsWith(`${name}=`))
      if (value !== undefined) this.#env[name] = value.slice(name.length + 1)
    }
    return ''
  }

  async #shell (command: string): Promise<string> {
    const shell = this.#bash(command)
    this.#t.equal(await shell.exit(), 0, `${command}\n${shell.err}`)
    return shell.out
  }

  /**
   * Runs in the folder of the walkthrough; the container `one` is this machine, with different ports inside and
   * outside.
   */
  #bash (command: string): Command {
    const { front, one } = this.#stack ?? {}
    const real = command.replaceAll('docker compose exec -T one ', '')
      .replaceAll('service/dist/cli.js', join(ROOT, 'service/dist/cli.js'))
      .replaceAll('https://localhost', front?.https ?? 'https://localhost')
      .replaceAll('http://127.0.0.1:8080', one?.origin ?? 'http://127.0.0.1:8080')
    return run(this.#t, 'bash', ['-c', `cd ${this.folder} && ${real}`], this.#env)
  }
}

/** The commands and their output; a text block is the output of the second terminal. */
function stepsOf (): { command: string, shown: string }[] {
  return blocksOf('docs/deploy.md').filter(
    ({ section, text }) => section === 'Walkthrough' && !text.startsWith('scrape_configs')
  ).flatMap(({ language, text }) => {
    if (language === 'text') return [{ command: '', shown: text }]
    return text.split(/^\$ /m).slice(1).map(part => {
      const [command = '', ...shown] = part.split('\n')
      return { command, shown: shown.join('\n') }
    })
  })
}

t.test('every step of docs/deploy.md works, and no event is lost over rolling restarts, reloads and a restart of Redis', async t => {
  const walk = new Walk(t)
  const steps = stepsOf()
  t.ok(steps.length > 15)
  for (const { command, shown } of steps) {
    if (command === '') {
      const lines = shown.split('\n')
      const listened = await walk.listened(lines.length)
      const data = (text: string): string[] => text.trim().split('\n').map(line => line.replace(/^\d+-\d+ /, ''))
      t.same(data(listened), data(shown), 'the second terminal')
    } else {
      const out = await walk.step(command)
      if (shown !== '') t.equal(out.trim(), shown.trim(), command)
      else t.match(out, /^(\d+-\d+\n)?$/, command)
    }
  }
})

t.test('the scrape configuration names the instances as compose does', async t => {
  const block = blocksOf('docs/deploy.md').find(({ text }) => text.startsWith('scrape_configs'))
  const targets = [...block!.text.matchAll(/'(\w+):8080'/g)].map(([, name]) => name)
  t.same(targets, Object.entries(readCompose().services)
    .filter(([, { build }]) => build !== undefined)
    .map(([name]) => name))
})
