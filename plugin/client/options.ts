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
   * Called for a token before the first connection, when the server answers 401, and when the right to listen is about to end. With
   * `tokenParameter` or a native EventSource the token is taken to be good for one connection, and is asked for before each.
   */
  readonly getToken?: (() => string | Promise<string>) | undefined
  /** The query parameter of the token, such as `ot`. Default: the header `Authorization: Bearer`, and `ot` for a native EventSource. */
  readonly tokenParameter?: string | undefined
  /** Further headers, or a function that returns them, called before each connection. Not with a native EventSource. */
  readonly headers?: Provided<Readonly<Record<string, string>>> | undefined
  /** Send cookies to another origin, too. Default `false`. */
  readonly withCredentials?: boolean | undefined
  /**
   * Ask the server for `envelope=true`, so that each event says its topic and its own id. Default: `true` while there is more than
   * one topic.
   */
  readonly envelope?: boolean | undefined
  /** Makes of the text of an event what listeners get as `data`, for example `text => JSON.parse(text)`. Default: the text. */
  readonly parse?: ((text: string, event: Published) => Data) | undefined
  /** Keep the cursor over reloads of the page, in the sessionStorage under this name. Default: not kept. */
  readonly persist?: string | undefined
  /** Ends the subscription when it is aborted. */
  readonly signal?: AbortSignal | undefined
  /** Time between connections. */
  readonly backoff?: Partial<BackoffOptions> | undefined
  /** Silence after which a stream counts as frozen, in milliseconds; 0 for never. Default: learned from the server's heartbeats. */
  readonly stallTimeoutMs?: number | undefined
  /** How to connect. Default: `fetchTransport()`. */
  readonly transport?: Transport | undefined
}

/** All options, in the order of docs/client.md. */
export const OPTION_NAMES: readonly (keyof SubscribeOptions)[] = [
  'url', 'topics', 'lastEventId', 'getToken', 'tokenParameter', 'headers', 'withCredentials', 'envelope', 'parse', 'persist', 'signal',
  'backoff', 'stallTimeoutMs', 'transport'
]

/** Throws a TypeError that names the option, what it may be, and what was seen. An explicit `undefined` counts as not given. */
export function checkOptions (options: SubscribeOptions<never>): void {
  const { topics, backoff, stallTimeoutMs, lastEventId } = options
  for (const name of Object.keys(options)) {
    if (!(OPTION_NAMES as readonly string[]).includes(name)) throw new TypeError(`subscribe: unknown option ${JSON.stringify(name)}`)
  }
  if (topics !== undefined) checkTopics(topics)
  if (lastEventId !== undefined && typeof lastEventId !== 'string') throw wrong('lastEventId', 'a string', lastEventId)
  if (stallTimeoutMs !== undefined) checkMs('stallTimeoutMs', stallTimeoutMs)
  for (const name of ['initialMs', 'maxMs'] as const) if (backoff?.[name] !== undefined) checkMs(`backoff.${name}`, backoff[name])
  for (const name of ['getToken', 'parse', 'transport'] as const) {
    if (options[name] !== undefined && typeof options[name] !== 'function') throw wrong(name, 'a function', options[name])
  }
}

export function checkTopics (topics: readonly string[]): void {
  const isList = Array.isArray(topics) && topics.every(topic => typeof topic === 'string' && topic !== '')
  if (!isList) throw wrong('topics', 'an array of names', topics)
}

function checkMs (name: string, ms: number): void {
  if (!Number.isFinite(ms) || ms < 0 || ms > 2 ** 31 - 1) throw wrong(name, 'milliseconds from 0 to 2147483647', ms)
}

function wrong (name: string, expected: string, seen: unknown): TypeError {
  return new TypeError(`subscribe: option ${name} must be ${expected}, saw ${typeof seen === 'function' ? 'a function' : JSON.stringify(seen)}`)
}
