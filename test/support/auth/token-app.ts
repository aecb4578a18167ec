import type { OutgoingHttpHeaders, RequestOptions } from 'node:http'
import type { Test } from 'tap'
import { MemoryTokenStore } from '../../../plugin/auth/index.ts'
import type { AuthOptions, OneTimeTokenOptions } from '../../../plugin/auth/index.ts'
import { startAuthApp } from './auth-app.ts'
import type { AuthApp, StartOptions, Told } from './auth-app.ts'
import { fetchAll, open } from '../clients/client.ts'
import type { Opened } from '../clients/client.ts'
import { bearer, SECRET, sign } from './tokens.ts'
import type { Claims } from './tokens.ts'

/** An auth app with one-time tokens, and JWTs with which to request them. */
export async function startTokenApp (
  t: Test,
  oneTimeToken: Partial<OneTimeTokenOptions> = {},
  auth: Partial<AuthOptions> = {},
  start: StartOptions = {}
): Promise<AuthApp> {
  return startAuthApp(t, {
    jwt: { secret: SECRET }, oneTimeToken: { store: new MemoryTokenStore(), ...oneTimeToken }, ...auth
  }, start)
}

/** Posts JSON; a string is sent unchanged. */
export async function post (t: Test, url: string, body: unknown, headers: OutgoingHttpHeaders = {}): Promise<Told> {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  const told = await fetchAll(t, url, {
    method: 'POST', body: text, headers: { ...(text === '' ? {} : { 'content-type': 'application/json' }), ...headers }
  })
  return {
    status: told.statusCode,
    headers: told.headers,
    text: told.text,
    json: told.text.startsWith('{') ? JSON.parse(told.text) as Record<string, unknown> : {}
  }
}

/** Issues a token for alice, or for the subject in the claims. */
export async function issueToken (t: Test, origin: string, { topics = ['news'], claims = {}, headers = {} }: {
  topics?: string[], claims?: Claims, headers?: OutgoingHttpHeaders
} = {}): Promise<{ token: string, session: string }> {
  const { status, text, json } = await post(t, `${origin}/events/auth`, { topics }, {
    ...bearer(await sign(claims)), ...headers
  })
  if (status !== 200) throw new Error(`no token: ${status} ${text}`)
  return json as { token: string, session: string }
}

/** The cookies that a browser keeps from a response: `name=value` of those that are not deleted, joined. */
export function cookiesOf ({ headers }: Pick<Opened, 'headers'>): string {
  return (headers['set-cookie'] ?? [])
    .filter(line => !line.includes('Max-Age=0;'))
    .map(line => line.split(';')[0]!)
    .join('; ')
}

export interface Presenting extends RequestOptions { cookie?: string, topic?: string }

/** Opens the stream of a token. */
export function redeem (
  t: Test,
  origin: string,
  token: string,
  { cookie, topic = 'news', headers, ...options }: Presenting = {}
): Promise<Opened> {
  return open(t, `${origin}/events?topic=${topic}&ot=${token}`, {
    ...options,
    headers: { accept: 'text/event-stream', ...(cookie ? { cookie } : {}), ...headers as OutgoingHttpHeaders }
  })
}

/** Redeems from another address, which counts as another client. */
export const ELSEWHERE = { localAddress: '127.0.0.99' }
