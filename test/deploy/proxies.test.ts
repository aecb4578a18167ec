import { accessSync, chmodSync, constants, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import { open } from '../support/clients/client.ts'
import { Command } from '../support/processes/commands.ts'
import { until } from '../support/until.ts'
import { blocksOf } from '../support/documents/markdown.ts'
import { stablePort } from '../support/network/ports.ts'
import { RedisServer } from '../support/redis/redis-server.ts'
import { call } from '../support/service/service-app.ts'
import { ServiceProcess } from '../support/service/service-process.ts'

// Real proxies with the configurations of docs/proxies.md, except for ports and folders, in front of two real
// instances. HAProxy and lighttpd are installed for the tests; the others are tested if they are installed.

/** A proxy: its block in the document, how it is started, and what else its configuration needs. */
interface Proxy {
  language: string
  file: string
  command: string
  args: (folder: string) => string[]
  listen: (port: number) => [from: string, to: string]
  complete?: (config: string, folder: string) => string
  /** The status that an EventSource gets while no instance responds. */
  away: number
}

const APACHE_MODULES = [
  'mpm_event', 'authz_core', 'headers', 'proxy', 'proxy_http', 'proxy_balancer', 'lbmethod_bybusyness', 'slotmem_shm'
]

const PROXIES: Proxy[] = [
  {
    language: 'haproxy',
    file: 'haproxy.cfg',
    command: 'haproxy',
    args: folder => ['-db', '-f', join(folder, 'haproxy.cfg')],
    listen: port => ['bind 0.0.0.0:80', `bind 127.0.0.1:${port}`],
    complete: withErrorFile,
    away: 200
  },
  {
    language: 'lighttpd',
    file: 'lighttpd.conf',
    command: 'lighttpd',
    args: folder => ['-D', '-f', join(folder, 'lighttpd.conf')],
    listen: port => ['server.port = 80', `server.port = ${port}\nserver.bind = "127.0.0.1"`],
    away: 503
  },
  {
    language: 'caddy',
    file: 'Caddyfile',
    command: 'caddy',
    args: folder => ['run', '--adapter', 'caddyfile', '--config', join(folder, 'Caddyfile')],
    listen: port => [':80 {', `:${port} {`],
    complete: config => `{\n  admin off\n}\n${config}`,
    away: 200
  },
  {
    language: 'vcl',
    file: 'default.vcl',
    command: 'varnishd',
    args: folder => [
      '-F', '-f', join(folder, 'default.vcl'), '-n', join(folder, 'work'), '-s', 'malloc,16m', '-a'
    ],
    listen: () => ['', ''],
    away: 200
  },
  {
    language: 'apache',
    file: 'apache.conf',
    command: 'apache2',
    args: folder => ['-DFOREGROUND', '-f', join(folder, 'apache.conf')],
    listen: port => ['ProxyRequests Off', `Listen 127.0.0.1:${port}\nServerName localhost\nProxyRequests Off`],
    complete: (config, folder) => [
      ...APACHE_MODULES.map(name => `LoadModule ${name}_module /usr/lib/apache2/modules/mod_${name}.so`),
      `ServerRoot ${folder}`,
      `DefaultRuntimeDir ${folder}`,
      `PidFile ${folder}/pid`,
      `ErrorLog ${folder}/error.log`,
      'User nobody',
      'Group nogroup',
      config
    ].join('\n'),
    away: 503
  },
  {
    language: 'squid',
    file: 'squid.conf',
    command: 'squid',
    args: folder => ['-N', '-f', join(folder, 'squid.conf')],
    listen: port => ['http_port 80 ', `http_port 127.0.0.1:${port} `],
    complete: (config, folder) =>
      `${config}\npid_filename ${folder}/pid\ncache_log ${folder}/cache.log\naccess_log none\ncoredump_dir ${folder}\nshutdown_lifetime 0 seconds\npinger_enable off\nvisible_hostname test\n`,
    away: 503
  }
]

const PATH = `${process.env.PATH}:/usr/sbin`

function isInstalled ({ command }: Proxy): boolean {
  return PATH.split(':').some(folder => {
    try {
      accessSync(join(folder, command), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

const blockOf = (language: string): string =>
  blocksOf('docs/proxies.md').find(block => block.language === language)!.text

/** Runs the document's command that writes the error file, for a folder of the test. */
function withErrorFile (config: string, folder: string): string {
  const [, text = ''] = /^\$ printf '%s\\r\\n' (.*) \| sudo tee/m.exec(blockOf('console')) ?? []
  writeFileSync(join(folder, 'retry.http'), [...text.matchAll(/'([^']*)'/g)].map(([, line]) => `${line}\r\n`).join(''))
  return config.replaceAll('/etc/haproxy/retry.http', join(folder, 'retry.http'))
}

async function startProxy (t: Test, proxy: Proxy, instances: readonly ServiceProcess[]): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), `${proxy.language}-`))
  chmodSync(folder, 0o777)
  const port = await stablePort()
  const [from, to] = proxy.listen(port)
  const block = blockOf(proxy.language)
  t.ok(block.includes(from))
  const config = [8081, 8082].reduce(
    (text, shown, at) => text.replaceAll(`${shown}`, `${instances[at]!.port}`),
    block.replace(from, to)
  )
  writeFileSync(join(folder, proxy.file), `${proxy.complete?.(config, folder) ?? config}\n`)
  const args = proxy.args(folder)
  const command = new Command(proxy.command, args.at(-1) === '-a' ? [...args, `127.0.0.1:${port}`] : args, {
    PATH, HOME: folder
  })
  t.teardown(async () => {
    await command.stop()
    rmSync(folder, { recursive: true, force: true })
  })
  const origin = `http://127.0.0.1:${port}`
  let isOver = false
  void command.ended.then(() => { isOver = true })
  await until(async () => {
    if (isOver) throw new Error(`${proxy.command} ended: ${command.out}${command.err}`)
    return (await call(`${origin}/topics/news`).catch(() => ({ status: 0 }))).status === 200
  })
  return origin
}

const streamsOf = async ({ origin }: ServiceProcess): Promise<number> =>
  Number(/^sse_streams_open (\d+)/m.exec((await call(`${origin}/metrics`)).text)?.[1])

for (const proxy of PROXIES.filter(isInstalled)) {
  t.test(`events pass through ${proxy.command}, as configured in docs/proxies.md`, async t => {
    const redis = await RedisServer.start(t)
    const start = () => ServiceProcess.start(t, { REDIS_URL: redis.url, HEARTBEAT_MS: '300', TRUST_PROXY: '127.0.0.1' })
    const instances = [await start(), await start()]
    const origin = await startProxy(t, proxy, instances)
    const publish = (data: string) =>
      call(`${origin}/topics/news/events`, { method: 'POST', body: data, type: 'text/plain' })

    const first = await open(t, `${origin}/events?topic=news`, {
      headers: { accept: 'text/event-stream', 'accept-encoding': 'gzip' }
    })
    await first.inbox.until('stream.open')
    for (const data of ['one', 'two', 'three']) {
      t.equal((await publish(data)).status, 201)
      await first.inbox.until(`data: ${data}\n\n`)
    }
    t.equal(
      (await call(`${origin}/topics/${encodeURIComponent('build/1')}`)).status,
      200,
      'an encoded slash is passed on unchanged'
    )
    for (const path of ['/metrics', '/readyz', '/console']) {
      t.ok([403, 404].includes((await call(origin + path)).status), `${path} stays internal`)
    }

    first.close()
    await until(async () => (await Promise.all(instances.map(streamsOf))).every(open => open === 0))
    const id = /id: (\S+)\ndata: one/.exec(first.inbox.text)![1]!
    const again = await open(t, `${origin}/events?topic=news`, { headers: { 'last-event-id': id } })
    await again.inbox.until('data: three\n\n')
    t.notMatch(again.inbox.text, 'data: one')

    for (const instance of instances) await instance.kill()
    await again.inbox.ended().catch(() => {})
    const answer = await call(`${origin}/events?topic=news`, { headers: { accept: 'text/event-stream' } })
    t.equal(answer.status, proxy.away)
    if (proxy.away === 200) {
      t.match(answer.headers.get('content-type'), /^text\/event-stream/)
      t.match(answer.text, /^retry: 3000\r?\n/)
    }
  })
}
