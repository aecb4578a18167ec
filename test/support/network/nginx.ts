import { once } from 'node:events'
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { Test } from 'tap'
import { Command } from '../processes/commands.ts'
import { certificateFiles } from './http2-client.ts'
import { readDoc } from '../documents/markdown.ts'
import { stablePort } from './ports.ts'

/** Debian installs it in a folder that is only in root's PATH. */
const env = { PATH: `${process.env.PATH}:/usr/sbin` }

/**
 * nginx gives the folders for temporary files to its own user when it starts. By default all instances on a machine
 * have the same ones: an instance with another user would take them from this one, which then responds with 500.
 */
const TEMP_PATHS = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  .map(kind => `${kind}_temp_path ${kind}_temp;`)
  .join(' ')

/** A real nginx with the test's configuration, in a new folder; stopped after the test. */
export class Nginx {
  readonly folder = mkdtempSync(join(tmpdir(), 'nginx-'))
  readonly #args = ['-p', this.folder, '-c', join(this.folder, 'nginx.conf'), '-e', join(this.folder, 'error.log')]
  #command: Command | undefined

  /** Starts it; settles when it listens on the port. */
  static async start (t: Test, config: string, port: number): Promise<Nginx> {
    const nginx = new Nginx()
    // For its worker processes, which have another user.
    chmodSync(nginx.folder, 0o711)
    nginx.configure(config)
    nginx.#command = new Command('nginx', [...nginx.#args, '-g', 'daemon off;'], env)
    t.teardown(() => nginx.#stop(t))
    await Promise.race([
      listening(port), nginx.#command.ended.then(() => { throw new Error(`nginx ended: ${nginx.errors}`) })
    ])
    return nginx
  }

  /** nginx's verdict on a configuration file. */
  async test (): Promise<string> {
    const command = new Command('nginx', [...this.#args, '-t'], env)
    await command.ended
    return command.err
  }

  /** Runs `nginx -s reload`: new workers take over, and the old ones finish their connections. */
  async reload (): Promise<void> {
    const command = new Command('nginx', [...this.#args, '-s', 'reload'], env)
    if (await command.exit() !== 0) throw new Error(command.err)
  }

  /** Replaces the configuration; `reload()` applies it. */
  configure (config: string): void {
    writeFileSync(join(this.folder, 'nginx.conf'), config.replace(/^([^#\n]*\bhttp \{)/m, `$1 ${TEMP_PATHS}`))
  }

  get accesses (): string { return readFileSync(join(this.folder, 'access.log'), 'utf8') }
  get errors (): string { return readFileSync(join(this.folder, 'error.log'), 'utf8') }

  async #stop (t: Test): Promise<void> {
    this.#command!.kill('SIGTERM')
    await this.#command!.ended
    for (const line of this.errors.match(/^.*\[(?:crit|alert|emerg)\].*$/gm) ?? []) t.comment(line)
    rmSync(this.folder, { recursive: true })
  }
}

async function listening (port: number): Promise<void> {
  for (;;) {
    const socket = connect(port, '127.0.0.1')
    const isOpen = await once(socket, 'connect').then(() => true, () => false)
    socket.destroy()
    if (isOpen) return
    await pause(20)
  }
}

/** deploy/nginx.conf unchanged except for machine-specific values: ports, files, and the addresses of the instances. */
export interface DeployedNginx { nginx: Nginx, http: string, https: string, cert: string, config: string }

/**
 * Starts it in front of instances on these ports; `replace` makes further changes. In addition to TLS it serves the
 * same over plain HTTP.
 */
export async function startDeployedNginx (
  t: Test,
  instances: readonly [number, number],
  replace: (config: string) => string = config => config,
  files = certificateFiles(t)
): Promise<DeployedNginx> {
  const [redirect, http, https] = [await stablePort(), await stablePort(), await stablePort()]
  const { cert, key } = files
  const config = replace(instantiate({
    'listen 80;': `listen 127.0.0.1:${redirect};`,
    'listen 443 ssl http2;': `listen 127.0.0.1:${https} ssl http2; listen 127.0.0.1:${http};`,
    'server one:8080': `server 127.0.0.1:${instances[0]}`,
    'server two:8080': `server 127.0.0.1:${instances[1]}`,
    '/etc/nginx/tls/cert.pem': cert,
    '/etc/nginx/tls/key.pem': key,
    'pid /run/nginx.pid;': 'pid nginx.pid;',
    'error_log stderr warn;': 'error_log error.log warn;',
    'error_log stderr emerg;': 'error_log error.log emerg;',
    '/dev/stdout': 'access.log',
    'worker_rlimit_nofile 200000;': '',
    'worker_connections 65536;': 'worker_connections 512;'
  }))
  const nginx = await Nginx.start(t, config, http)
  return { nginx, config, http: `http://127.0.0.1:${http}`, https: `https://127.0.0.1:${https}`, cert }
}

/** Each replacement must match, so that a change of the file is noticed. */
function instantiate (replacements: Record<string, string>): string {
  let config = readDoc('deploy/nginx.conf')
  for (const [from, to] of Object.entries(replacements)) {
    if (!config.includes(from)) throw new Error(`deploy/nginx.conf has no ${from}`)
    config = config.replace(from, to)
  }
  return config
}
