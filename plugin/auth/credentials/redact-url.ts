import type { IncomingMessage } from 'node:http'

/** Replaces a credential in logs. */
export const REDACTED = '[redacted]'

/** A request as Node has it; `originalUrl` is what Fastify keeps when `rewriteUrl` has changed the URL. */
export type RawRequest = Pick<IncomingMessage, 'url' | 'headers'> & {
  originalUrl?: string
  socket?: { remoteAddress?: string | undefined }
}

/** Query parameters that hold credentials. */
const SECRET_PARAMETERS: ReadonlySet<string> = new Set(['ot', 'access_token'])

/**
 * Shorter texts are not searched for: they occur by chance in other texts. Tokens of this plugin have 43 characters.
 */
const MIN_LENGTH = 16
/** Only this many characters of a longer credential are compared; whatever follows a match is hidden with it. */
const MAX_COMPARED = 64
/**
 * Maximum number of credentials of one request that are searched for. The parameters of its URL are hidden by their
 * position, however many there are.
 */
const MAX_COUNT = 16
/** Parameter values collected from one URL, before those that are too short or public are removed. */
const MAX_COLLECTED = 4 * MAX_COUNT

/**
 * Hides the credentials of a request in the URL itself. Returns their values, as written and decoded, for `searchFor`.
 */
export function redactUrls (raw: RawRequest): string[] {
  const values = new Set<string>()
  raw.url = redactUrl(raw.url!, values)
  if (raw.originalUrl !== undefined) raw.originalUrl = redactUrl(raw.originalUrl, values)
  return [...values]
}

/**
 * The name of each parameter. The query begins at a # for the router as well, and at a semicolon where Fastify's option
 * `useSemicolonDelimiter` is set.
 */
const PARAMETER = /[?#;&]([^=&?#;]*)=/g

/**
 * The URL with the values of secret parameters replaced, in one pass; they are added to `found`. A value ends at `&`.
 */
function redactUrl (url: string, found: Set<string>): string {
  let redacted = ''
  let copied = 0
  for (const { 0: match, 1: name, index } of url.matchAll(PARAMETER)) {
    // A value within another value is hidden already, and not searched again: the time is linear.
    if (index < copied || !SECRET_PARAMETERS.has(decode(name!).toLowerCase())) continue
    const start = index + match.length
    const [value] = url.slice(start).split('&', 1) as [string]
    if (value === '') continue
    if (found.size < MAX_COLLECTED) found.add(value).add(decode(value))
    redacted += url.slice(copied, start) + REDACTED
    copied = start + value.length
  }
  return redacted + url.slice(copied)
}

/**
 * A regular expression that matches the credentials of a request; undefined if there is nothing to search for. A value
 * that also occurs in the path, the Host or the address of the request is public: otherwise a client could remove those
 * from the log.
 */
export function searchFor (raw: RawRequest, parameters: readonly string[]): RegExp | undefined {
  const { authorization = '', cookie = '', host, ':authority': authority } = raw.headers
  const known = [pathOf(raw.url!), pathOf(raw.originalUrl ?? ''), host, authority, raw.socket?.remoteAddress].join('\n')
  const candidates = [
    authorization.replace(/^\S+ +/, ''),
    ...parameters,
    ...cookie.split(';', MAX_COLLECTED).map(pair => pair.trim())
  ]
  const compared = candidates
    .map(text => text.slice(0, MAX_COMPARED))
    .filter(text => text.length >= MIN_LENGTH && !known.includes(text))
  const secrets = [...new Set(compared)].slice(0, MAX_COUNT).sort((a, b) => b.length - a.length)
  return secrets.length === 0 ? undefined : new RegExp(secrets.map(toPattern).join('|'), 'g')
}

/** A whole secret literally; for a truncated one also the text that follows, up to the next separator. */
function toPattern (secret: string): string {
  const escaped = secret.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')
  return secret.length < MAX_COMPARED ? escaped : `${escaped}[^\\s&;,"'#?]*`
}

const pathOf = (url: string): string => url.split(/[?#]/, 1)[0]!

function decode (text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
