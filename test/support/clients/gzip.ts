import { createGunzip, gunzipSync } from 'node:zlib'
import type { Readable } from 'node:stream'
import type { IncomingHttpHeaders } from 'node:http'
import type { Test } from 'tap'
import { open } from './client.ts'
import { Inbox } from './inbox.ts'

export const GZIP = { accept: 'text/event-stream', 'accept-encoding': 'gzip' }

/** A compressed body as it arrives, and what a client has decoded of it so far. */
export class GzipReceiver {
  readonly inbox = new Inbox()
  /** Undefined for a body that ended with its trailer. */
  failure: Error | undefined
  readonly #raw: Buffer[] = []

  constructor (body: Readable) {
    const gunzip = createGunzip()
    body.on('data', (chunk: Buffer) => {
      this.#raw.push(chunk)
      gunzip.write(chunk)
    })
    body.on('close', () => gunzip.end())
    gunzip.on('data', (chunk: Buffer) => this.inbox.add(chunk))
    gunzip.on('error', error => { this.failure = error })
    gunzip.on('close', () => this.inbox.end())
  }

  get raw (): Buffer { return Buffer.concat(this.#raw) }

  /** The text of the whole body, with checksum and length verified. */
  async verified (): Promise<string> {
    await this.inbox.ended()
    return gunzipSync(this.raw).toString()
  }
}

/** Opens a stream as a client that accepts gzip. */
export async function openGzip (
  t: Test,
  url: string,
  headers: Record<string, string> = {}
): Promise<GzipReceiver & { headers: IncomingHttpHeaders }> {
  const { response } = await open(t, url, { headers: { ...GZIP, ...headers } })
  return Object.assign(new GzipReceiver(response), { headers: response.headers })
}
