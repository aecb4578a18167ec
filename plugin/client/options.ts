import type { BackoffOptions } from './backoff.ts'
import type { Published } from './events.ts'
import type { Transport } from './transport.ts'

/** Something to call for a header's or a token's value before each connection, or the value itself. */
type Provided<Value> = Value | (() => Value | Promise<Value>)

export interface SubscribeOptions<Data = string> {
  /** Where the stream is, such as `/events`. In a browser it may be relative to the page. */
  readonly url: string | URL
  /** Topics, each added to the query as `topic`. Default: none, for a URL that says it all. */
  readonly topics?: readonly string[] | undefined
  /** Where to begin: a cursor from an earlier subscription or from `GET /topics/:topic/events`. Default: now. */
  readonly lastEventId?: string | undefined
  /**
   * Called for a token before the first connection, when the server answers 401, and when the right to listen is about
   * to end. With `tokenParameter` or a native EventSource the token is taken to be good for one connection, and is
   * asked for before each.
   */
  readonly getToken?: (() => string | Promise<string>) | undefined
  /**
   * The query parameter of the token, such as `ot`. Default: the header `Authorization: Bearer`, and `ot` for a native
   * EventSource.
   */
  readonly tokenParameter?: string | undefined
  /** Further headers, or a function that returns them, called before each connection. Not with a native EventSource. */
  readonly headers?: Provided<Readonly<Record<string, string>>> | undefined
  /** Send cookies to another origin, too. Default `false`. */
  readonly withCredentials?: boolean | undefined
  /**
   * Ask the server for `envelope=true`, so that each event says its topic and its own id. Default: `true` while there
   * is more than one topic.
   */
  readonly envelope?: boolean | undefined
  /**
   * Makes of the text of an event what listeners get as `data`, for example `text => JSON.parse(text)`. Default: the
   * text.
   */
  readonly parse?: ((text: string, event: Published) => Data) | undefined
  /** Keep the cursor over reloads of the page, in the sessionStorage under this name. Default: not kept. */
  readonly persist?: string | undefined
  /**
   * Use one connection for all tabs of the origin that subscribe to this URL, for HTTP/1.1 with its six connections.
   * Each tab has its own topics, and its own place in them. Needs Web Locks, which pages have over HTTPS and on
   * localhost: elsewhere each tab has a connection of its own. Default `false`.
   */
  readonly shareAcrossTabs?: boolean | undefined
  /** Ends the subscription when it is aborted. */
  readonly signal?: AbortSignal | undefined
  /** Time between connections. */
  readonly backoff?: Partial<BackoffOptions> | undefined
  /**
   * Silence after which a stream counts as frozen, in milliseconds; 0 for never. Default: learned from the server's
   * heartbeats.
   */
  readonly stallTimeoutMs?: number | undefined
  /** How to connect. Default: `fetchTransport()`. */
  readonly transport?: Transport | undefined
}

/** The types of each option, in the order of docs/client.md. */
const TYPES: { readonly [Name in keyof SubscribeOptions]-?: string } = {
  url: 'string or object',
  topics: 'object',
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
    if (types === undefined) throw new TypeError(`subscribe: unknown option "${name}"`)
    if (value !== undefined) check(name, value, types.includes(typeof value) && value !== null, `of type ${types}`)
  }
  check('url', options.url, options.url !== undefined, 'a URL')
  checkTopics(options.topics ?? [])
  const { initialMs = 0, maxMs = 0 } = options.backoff ?? {}
  for (const [name, ms] of Object.entries({
    'backoff.initialMs': initialMs,
    'backoff.maxMs': maxMs,
    stallTimeoutMs: options.stallTimeoutMs ?? 0
  })) {
    check(name, ms, ms >= 0 && ms < 2 ** 31, 'milliseconds from 0 to 2147483647')
  }
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
