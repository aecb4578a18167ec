import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs'
import http2 from 'node:http2'
import https from 'node:https'
import tls from 'node:tls'
import t from 'tap'
import type { Test } from 'tap'
import { connect, open } from '../../../support/clients/client.ts'
import { run, startService } from '../../../support/processes/commands.ts'
import type { Command } from '../../../support/processes/commands.ts'
import { Inbox } from '../../../support/clients/inbox.ts'
import { untimelinessOf } from '../../../../service/config/secrets/pem.ts'
import { until } from '../../../support/until.ts'
import { call } from '../../../support/service/service-app.ts'
import { runCommand } from '../../../support/processes/terminal.ts'
import { certificateFiles, openHttp2, openSession } from '../../../support/network/http2-client.ts'

// HTTP/2 with TLS, and HTTP/1.1 on the same port, as the built command serves them.

interface Secure { service: Command, origin: string, ca: Buffer, files: ReturnType<typeof certificateFiles> }

async function startSecure (t: Test, env: Record<string, string> = {}): Promise<Secure> {
  const files = certificateFiles(t)
  const { service, origin } = await startService(t, { TLS_CERT: files.cert, TLS_KEY: files.key, LOG: 'memory', ...env })
  return { service, origin, files, ca: readFileSync(files.cert) }
}

async function curl (t: Test, ...args: string[]): Promise<string> {
  const command = run(t, 'curl', ['-s', ...args])
  t.equal(await command.exit(), 0, command.err)
  return command.out
}

t.test('curl uses HTTP/2 and HTTP/1.1 over TLS, on the same port', async t => {
  const { origin, files, service } = await startSecure(t)
  t.match(service.err, `resumable-sse listens on ${origin} (`)
  t.match(origin, /^https:/)
  for (const [flag, version] of [['--http2', '2'], ['--http1.1', '1.1']] as const) {
    t.equal(
      await curl(t, flag, '--cacert', files.cert, '-w', ' over %{http_version}', `${origin}/healthz`),
      `{"status":"ok"} over ${version}`
    )
    t.match(await curl(
      t,
      flag,
      '--cacert',
      files.cert,
      '-d',
      `hello over ${version}`,
      '-H',
      'content-type: text/plain',
      `${origin}/topics/news/events`
    ), /^{"id":"\d+-\d"}$/)
    const listener = run(t, 'curl', ['-sN', flag, '--cacert', files.cert, `${origin}/events?topic=news&last=1`])
    await listener.until(({ out }) => out.includes(`data: hello over ${version}\n\n`))
  }
})

t.test('one connection carries more streams than browsers open', async t => {
  const { origin, ca } = await startSecure(t)
  const session = http2.connect(origin, { ca })
  t.teardown(() => session.destroy())
  const [settings] = await once(session, 'remoteSettings') as [http2.Settings]
  t.equal(settings.maxConcurrentStreams, 1_000)
  const streams = await Promise.all(Array.from({ length: 600 }, () => openHttp2(session, '/events?topic=news')))
  await Promise.all(streams.map(({ inbox }) => inbox.until('stream.open')))
  const published = session.request({ ':method': 'POST', ':path': '/topics/news/events', 'content-type': 'text/plain' })
  published.end('to all')
  await Promise.all(streams.map(({ inbox }) => inbox.until('data: to all\n\n')))
})

for (const kind of ['HTTP/2', 'HTTP/1.1'] as const) {
  t.test(`over ${kind} SIGTERM ends a stream after a retry, idle connections do not delay the exit, and the exit code is 0`, async t => {
    const { service, origin, ca } = await startSecure(t, { DRAIN_MS: '2147483647' })
    const session = await openSession(t, origin, { ca })
    const { port, hostname } = new URL(origin)
    const silent = tls.connect({ ca, host: hostname, port: Number(port), ALPNProtocols: ['http/1.1'] })
    t.teardown(() => silent.destroy())
    await once(silent.on('error', () => {}), 'secureConnect')
    await connect(t, origin)
    const end = kind === 'HTTP/2'
      ? (await openHttp2(session, '/events?topic=news')).inbox
      : await overHttp1(t, origin, ca)
    await end.until('stream.open')
    service.kill('SIGTERM')
    t.match(await end.ended(), /data: ?\n\nretry: \d+\n$/)
    t.equal(await service.exit(), 0)
  })
}

async function overHttp1 (t: Test, origin: string, ca: Buffer): Promise<Inbox> {
  const inbox = new Inbox()
  const request = https.get(`${origin}/events?topic=news`, {
    ca, agent: false, headers: { accept: 'text/event-stream' }
  })
  t.teardown(() => { request.destroy() })
  const [response] = await once(request, 'response') as [NodeJS.ReadableStream]
  response.on('data', (chunk: Buffer) => inbox.add(chunk)).on('close', () => inbox.end())
  return inbox
}

t.test('an incomplete handshake is cut at the end of the drain', async t => {
  const { service, origin } = await startSecure(t, { DRAIN_MS: '200' })
  const { socket } = await connect(t, origin)
  socket.write(Buffer.from('16030100', 'hex'))
  // Connections are accepted in their order: the one before is there when this one is.
  await shown(origin)
  service.kill('SIGTERM')
  t.equal(await service.exit(), 0)
})

/** The certificate a new connection is shown, as its fingerprint. */
async function shown (origin: string): Promise<string> {
  const { port, hostname } = new URL(origin)
  const socket = tls.connect({ host: hostname, port: Number(port), rejectUnauthorized: false })
  await once(socket, 'secureConnect')
  const { fingerprint256 } = socket.getPeerCertificate()
  socket.destroy()
  return fingerprint256
}

/** Signs the certificate again with its own key, valid until yesterday. */
function expire ({ cert, key }: { cert: string, key: string }): void {
  const request = execFileSync('openssl', ['x509', '-x509toreq', '-in', cert, '-signkey', key], { stdio: 'pipe' })
  execFileSync('openssl', [
    'x509', '-req', '-signkey', key, '-days', '-1', '-out', cert
  ], { stdio: 'pipe', input: request })
}

t.test('a certificate that is not valid at this time causes a warning, at the start and when it is reloaded', async t => {
  const { service, files } = await startSecure(t)
  expire(files)
  service.kill('SIGHUP')
  await service.until(({ out }) => /the certificate expired on .*: clients reject it/.test(out))
  t.match(await runCommand(['--check'], { TLS_CERT: files.cert, TLS_KEY: files.key, LOG: 'memory' }), {
    code: 0, err: /warning: the certificate in TLS_CERT expired on /
  })
  t.match(untimelinessOf(readFileSync(certificateFiles(t).cert), 0), /^is not valid before /)
})

t.test('SIGHUP reads a renewed certificate, open streams stay; an invalid one changes nothing', async t => {
  const { service, origin, ca, files } = await startSecure(t)
  const session = await openSession(t, origin, { ca })
  const { inbox } = await openHttp2(session, '/events?topic=news')
  const before = await shown(origin)
  const renewed = certificateFiles(t)
  copyFileSync(renewed.cert, files.cert)
  copyFileSync(renewed.key, files.key)
  service.kill('SIGHUP')
  await service.until(({ out }) => out.includes('the certificate was reloaded'))
  const after = await shown(origin)
  t.not(after, before)
  writeFileSync(files.cert, 'no certificate')
  service.kill('SIGHUP')
  await service.until(({ out }) => out.includes('the certificate cannot be reloaded, the old one remains in use'))
  t.equal(await shown(origin), after)
  t.equal(await curl(
    t,
    '-k',
    '-d',
    'still here',
    '-H',
    'content-type: text/plain',
    '-o',
    '/dev/null',
    '-w',
    '%{http_code}',
    `${origin}/topics/news/events`
  ), '201')
  await inbox.until('data: still here\n\n')
})

// Regression: the signal ended the process without a drain, and all clients reconnected at the same time.
t.test('without TLS SIGHUP drains a service, as when its terminal closes, and a second one does not end it', async t => {
  const { service, origin } = await startService(t, { LOG: 'memory', DRAIN_DELAY_MS: '500' })
  const { inbox } = await open(t, `${origin}/events?topic=news`)
  await inbox.until('stream.open')
  service.kill('SIGHUP')
  await until(async () => (await call(`${origin}/readyz`)).status === 503)
  service.kill('SIGHUP')
  t.match(await inbox.ended(), /retry: \d+\n$/)
  t.equal(await service.exit(), 0)
})
