import http2 from 'node:http2'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { once } from 'node:events'
import type { Test } from 'tap'
import { Inbox } from '../clients/inbox.ts'

/** A self-signed certificate for 127.0.0.1. */
export function makeCertificate (): { key: Buffer, cert: Buffer } {
  const dir = mkdtempSync(join(tmpdir(), 'sse-cert-'))
  try {
    const [key, cert] = [join(dir, 'key.pem'), join(dir, 'cert.pem')]
    execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2',
      '-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', cert], {
      stdio: 'pipe'
    })
    return { key: readFileSync(key), cert: readFileSync(cert) }
  } finally {
    rmSync(dir, { recursive: true })
  }
}

/** A new certificate as files, which are deleted after the test. */
export function certificateFiles (t: Test): { cert: string, key: string } {
  const folder = mkdtempSync(join(tmpdir(), 'sse-cert-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const files = { cert: join(folder, 'cert.pem'), key: join(folder, 'key.pem') }
  const made = makeCertificate()
  writeFileSync(files.cert, made.cert)
  writeFileSync(files.key, made.key)
  return files
}

/** An HTTP/2 session, closed after the test. */
export async function openSession (
  t: Test,
  origin: string,
  options: http2.SecureClientSessionOptions = {}
): Promise<http2.ClientHttp2Session> {
  const session = http2.connect(origin, options)
  t.teardown(() => { session.destroy() })
  session.on('error', () => {})
  await once(session, 'connect')
  return session
}

export interface Http2Opened {
  headers: http2.IncomingHttpHeaders & http2.IncomingHttpStatusHeader
  inbox: Inbox
  stream: http2.ClientHttp2Stream
}

/** Sends a GET; settles when the head of the response has arrived. Nothing is read if `isStalled`. */
export async function openHttp2 (
  session: http2.ClientHttp2Session,
  path: string,
  { isStalled = false, headers = {} } = {}
): Promise<Http2Opened> {
  const stream = session.request({ ':path': path, accept: 'text/event-stream', ...headers })
  stream.on('error', () => {})
  const inbox = new Inbox()
  stream.on('close', () => inbox.end())
  const [answer] = await once(stream, 'response') as [Http2Opened['headers']]
  if (!isStalled) stream.on('data', (chunk: Buffer) => inbox.add(chunk))
  return { headers: answer, inbox, stream }
}

/** Frame types of HTTP/2 (RFC 9113, section 6). */
const [HEADERS, RST_STREAM, SETTINGS, WINDOW_UPDATE] = [0x1, 0x3, 0x4, 0x8]

function frame (type: number, flags: number, streamId: number, payload: number[]): Buffer {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head[3] = type
  head[4] = flags
  head.writeUInt32BE(streamId, 5)
  return Buffer.concat([head, Buffer.from(payload)])
}

const HUGE = [0x7f, 0xff, 0xff, 0xff]

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
/** `GET /`; in HPACK it is four entries of the static table. */
const GET = [0x82, 0x84, 0x86, 0x41, 4, ...Buffer.from('test')]

/** The bytes of a client that requests `GET /` with windows so large that only TCP limits the server. */
export const greedyRequest = Buffer.concat([
  PREFACE,
  frame(SETTINGS, 0, 0, [0, 4, ...HUGE]),
  frame(WINDOW_UPDATE, 0, 0, [0x7f, 0xff, 0, 0]),
  frame(HEADERS, 0x5, 1, GET)
])

/** The bytes of a client that requests `GET /` this often, and cancels each request but the last one at once. */
export function resetRequests (count: number): Buffer {
  const frames = Array.from({ length: count }, (_, at) => {
    const id = 2 * at + 1
    const cancel = at === count - 1 ? [] : [frame(RST_STREAM, 0, id, [0, 0, 0, 8])]
    return Buffer.concat([frame(HEADERS, 0x5, id, GET), ...cancel])
  })
  return Buffer.concat([PREFACE, frame(SETTINGS, 0, 0, []), ...frames])
}
