import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { childrenOf } from './cpu.ts'
import { freePort } from './redis.ts'

const MODULE = '/usr/lib/nginx/modules/ngx_nchan_module.so'

/** True if Debian's package libnginx-mod-nchan is installed. */
export function isNchanThere (): boolean {
  return existsSync(MODULE)
}

/** nginx with nchan, one worker, events through Redis, as nchan's README sets it up. */
export class Nchan {
  readonly port: number
  readonly #folder: string
  readonly #child: ChildProcess

  private constructor (port: number, folder: string, child: ChildProcess) {
    this.port = port
    this.#folder = folder
    this.#child = child
  }

  static async start (redisUrl: string): Promise<Nchan> {
    const folder = await mkdtemp(join(tmpdir(), 'bench-nchan-'))
    // For its worker, which has another user.
    await chmod(folder, 0o711)
    const port = await freePort()
    const file = join(folder, 'nginx.conf')
    await writeFile(file, config(port, folder, redisUrl))
    const child = spawn('/usr/sbin/nginx', ['-c', file, '-e', join(folder, 'error.log')], { stdio: 'ignore' })
    await accepts(port)
    await delivers(port)
    return new Nchan(port, folder, child)
  }

  get pids (): number[] { return [this.#child.pid!, ...childrenOf(this.#child.pid!)] }

  async stop (): Promise<void> {
    this.#child.kill('SIGTERM')
    await once(this.#child, 'exit')
    await rm(this.#folder, { recursive: true })
  }
}

function config (port: number, folder: string, redisUrl: string): string {
  return `
load_module ${MODULE};
daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid ${folder}/pid;
events { worker_connections 20000; }
http {
  access_log off;
  ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(kind => `${kind}_temp_path ${folder}/${kind};`).join(' ')}
  upstream redis { nchan_redis_server ${redisUrl}; }
  server {
    listen 127.0.0.1:${port};
    location = /publish {
      nchan_publisher;
      nchan_channel_id $arg_topic;
      nchan_redis_pass redis;
      nchan_message_buffer_length 1000;
    }
    location = /events {
      nchan_subscriber eventsource;
      nchan_channel_id $arg_topic;
      nchan_subscriber_first_message newest;
      nchan_redis_pass redis;
    }
  }
}
`
}

/**
 * A client that subscribes before the worker has connected to its Redis is never served. So channels are tried until
 * one has a subscriber: nchan then answers a publish with 201 instead of 202.
 */
async function delivers (port: number): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    const subscriber = new AbortController()
    const url = (path: string): string => `http://127.0.0.1:${port}/${path}?topic=probe-${attempt}`
    await fetch(url('events'), { headers: { accept: 'text/event-stream' }, signal: subscriber.signal })
    await wait(50)
    const { status } = await fetch(url('publish'), { method: 'POST', body: 'probe' })
    subscriber.abort()
    if (status === 201) return
  }
}

async function accepts (port: number): Promise<void> {
  for (;;) {
    const socket = connect(port, '127.0.0.1')
    const isOpen = await once(socket, 'connect').then(() => true, () => false)
    socket.destroy()
    if (isOpen) return
    await wait(20)
  }
}
