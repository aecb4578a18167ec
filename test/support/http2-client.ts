import http2 from 'node:http2'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { once } from 'node:events'
import type { Test } from 'tap'
import { Inbox } from './inbox.ts'

/** A self-signed certificate for 127.0.0.1. */
export function makeCertificate (): { key: Buffer, cert: Buffer } {
  const dir = mkdtempSync(join(tmpdir(), 'sse-cert-'))
  try {
    const [key, cert] = [join(dir, 'key.pem'), join(dir, 'cert.pem')]
    execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2',
      '-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', cert], { stdio: 'pipe' })
    return { key: readFileSync(key), cert: readFileSync(cert) }
  } finally {
    rmSync(dir, { recursive: true })
  }
}

/** An HTTP/2 session, closed after the test. */
export async function openSession (t: Test, origin: string, options: http2.SecureClientSessionOptions = {}): Promise<http2.ClientHttp2Session> {
  const session = http2.connect(origin, options)
  t.teardown(() => { session.destroy() })
  session.on('error', () => {})
  await once(session, 'connect')
  return session
}

export interface Http2Opened { headers: http2.IncomingHttpHeaders & http2.IncomingHttpStatusHeader, inbox: Inbox, stream: http2.ClientHttp2Stream }

/** Sends a GET; settles when the head of the answer is there. Nothing is read when `isStalled`. */
export async function openHttp2 (session: http2.ClientHttp2Session, path: string, { isStalled = false, headers = {} } = {}): Promise<Http2Opened> {
  const stream = session.request({ ':path': path, accept: 'text/event-stream', ...headers })
  stream.on('error', () => {})
  const inbox = new Inbox()
  stream.on('close', () => inbox.end())
  const [answer] = await once(stream, 'response') as [Http2Opened['headers']]
  if (!isStalled) stream.on('data', (chunk: Buffer) => inbox.add(chunk))
  return { headers: answer, inbox, stream }
}
