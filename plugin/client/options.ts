import type { BackoffOptions } from './connection/backoff.ts'
import type { Published } from './events.ts'
import type { Transport } from './connection/transport.ts'

/** A value, or a function that returns it before each connection. */
type Provided<Value> = Value | (() => Value | Promise<Value>)

export interface SubscribeOptions<Data = string> {
  /** URL of the stream, such as `/events`. In a browser it can be relative to the page. */
  readonly url: string | URL
  /** Topics, each added to the query as `topic`. Default: none, for a URL that already has them. */
  readonly topics?: readonly string[] | undefined
  /** Cursor to start from, of an earlier subscription or of `GET /topics/:topic/events`. Default: now. */
  readonly lastEventId?: string | undefined
  /**
   * Returns a token. Called before the first connection, after a 401, and when the permission to subscribe is about to
   * expire. With `tokenParameter` or a native EventSource, a token is used for one connection only, so this is called
   * before each connection.
   */
  readonly getToken?: (() => string | Promise<string>) | undefined
  /**
   * The query parameter of the token, such as `ot`. Default: the header `Authorization: Bearer`, and `ot` for a native
   * EventSource.
   */
  readonly tokenParameter?: string | undefined
  /** Additional headers, or a function that returns them before each connection. Not with a native EventSource. */
  readonly headers?: Provided<Readonly<Record<string, string>>> | undefined
  /** Send cookies to other origins, too. Default `false`. */
  readonly withCredentials?: boolean | undefined
  /**
   * Request `envelope=true` from the server, so that each event has its topic and its own id. Default: `true` while
   * there is more than one topic.
   */
  readonly envelope?: boolean | undefined
  /**
   * Converts the text of an event to the `data` that listeners receive, for example `text => JSON.parse(text)`.
   * Default: the text. If it throws, an `error` with the `id` of the event is dispatched instead of the event.
   */
  readonly parse?: ((text: string, event: Published) => Data) | undefined
  /** Name under which the cursor is stored in the sessionStorage, so that it survives a reload. Default: not stored. */
  readonly persist?: string | undefined
  /**
   * Use one connection for all tabs of the origin that subscribe to this URL, for HTTP/1.1 with its six connections.
   * Each tab has its own topics and its own position in each. Requires Web Locks, which are available over HTTPS and on
   * localhost; elsewhere each tab uses its own connection. Default `false`.
   */
  readonly shareAcrossTabs?: boolean | undefined
  /** Ends the subscription when it is aborted. */
  readonly signal?: AbortSignal | undefined
  /** Time between connections. */
  readonly backoff?: Partial<BackoffOptions> | undefined
  /**
   * Time without bytes after which a stream counts as stalled, in milliseconds; 0 means never. Default: learned from
   * the server's heartbeats.
   */
  readonly stallTimeoutMs?: number | undefined
  /** How to connect. Default: `fetchTransport()`. */
  readonly transport?: Transport | undefined
}

/** The types of each option, in the order of docs/client.md. */
const TYPES: { readonly [Name in keyof SubscribeOptions]-?: string } = {
  url: 'string or object',
  // A string, the most likely mistake, is rejected by `checkTopics`, which says what is expected.
  topics: 'string or object',
  lastEventId: 'string',
  getToken: 'function',
  tokenParameter: 'string',
  headers: 'object or function',
  withCredentials: 'boolean',
  envelope: 'boolean',
  parse: 'function',
  persist: 'string',
  shareAcrossTabs: 'boolean',
  signal: 'object',
  backoff: 'object',
  stallTimeoutMs: 'number',
  transport: 'function'
}

export const OPTION_NAMES: readonly string[] = /* @__PURE__ */ Object.keys(TYPES)

/**
 * Throws a TypeError that names the option, what it may be, and what was seen. An explicit `undefined` counts as not
 * given.
 */
export function checkOptions (options: SubscribeOptions<never>): void {
  for (const [name, value] of Object.entries(options)) {
    const types = (TYPES as Record<string, string | undefined>)[name]
    if (types === undefined) throw unknownOption(name)
    if (value !== undefined) check(name, value, types.includes(typeof value) && value !== null, `of type ${types}`)
  }
  check('url', options.url, options.url !== undefined, 'a URL')
  checkTopics(options.topics ?? [])
  checkMs('stallTimeoutMs', options.stallTimeoutMs)
  for (const [name, ms] of Object.entries(options.backoff ?? {})) {
    const path = `backoff.${name}`
    if (name !== 'initialMs' && name !== 'maxMs') throw unknownOption(path)
    checkMs(path, ms)
  }
}

function unknownOption (name: string): TypeError {
  return new TypeError(`subscribe: unknown option "${name}"`)
}

function checkMs (name: string, ms: unknown = 0): void {
  check(name, ms, typeof ms === 'number' && ms >= 0 && ms < 2 ** 31, 'milliseconds from 0 to 2147483647')
}

export function checkTopics (topics: readonly string[]): void {
  check(
    'topics',
    topics,
    Array.isArray(topics) && topics.every(topic => topic && typeof topic === 'string'),
    'an array of names'
  )
}

function check (name: string, value: unknown, isValid: boolean, expected: string): void {
  if (!isValid) {
    throw new TypeError(`subscribe: option ${name} must be ${expected}, saw ${JSON.stringify(value) ?? typeof value}`)
  }
}
