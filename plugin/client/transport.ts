/** One attempt to listen, as a transport sees it. */
export interface ConnectionRequest {
  /** Where to connect, with the topics in its query, but without cursor and token. */
  readonly url: URL
  /** The cursor to continue from; empty for none. */
  readonly cursor: string
  /** The result of `getToken`, or undefined. */
  readonly token: string | undefined
  /** The query parameter that carries the token; undefined for the transport's own way. */
  readonly tokenParameter: string | undefined
  readonly headers: Readonly<Record<string, string>>
  readonly withCredentials: boolean
}

/**
 * One message as it came over the wire. `id` is undefined when the message has none, and empty when it resets the id.
 */
export interface WireMessage { readonly id: string | undefined, readonly event: string, readonly data: string }

/** Where a transport delivers. All calls are synchronous and in the order of the wire. */
export interface ConnectionSink {
  /** The answer is a stream. */
  open (): void
  message (message: WireMessage): void
  /** The stream broke off, and the transport connects again by itself. `open` follows when it has. */
  interrupted (): void
  /** The server asks for this time between connections, in milliseconds. */
  retry (ms: number): void
  /** Bytes came. Called before what is in them; never by a transport that cannot see them. */
  chunk (): void
  /** A comment was among them. */
  comment (): void
  /** Settles when more can be accepted: a transport that can stop reading waits for it after each chunk. */
  ready (): Promise<void> | undefined
}

/** How an attempt ended. */
export type Outcome =
  /** A stream that was open is over, by the server or by a fault of the network. */
  | { readonly kind: 'ended', readonly cause?: unknown }
  /** There was no answer. */
  | { readonly kind: 'unreachable', readonly cause: unknown }
  /** There was an answer that is no stream. `message` is for people. */
  | { readonly kind: 'rejected', readonly status: number, readonly message: string, readonly retryAfterMs?: number }

/** Connects once. Settles when the connection is over, and soon after an abort with any outcome; never rejects. */
export interface Transport {
  (request: ConnectionRequest, sink: ConnectionSink, signal: AbortSignal): Promise<Outcome>
  /** The query parameter for tokens, of a transport that can send no header. */
  readonly tokenParameter?: string
}

/** The URL of an attempt, with its token where that belongs into the query. */
export function requestUrl ({ url, token, tokenParameter }: ConnectionRequest): URL {
  const target = new URL(url)
  if (token !== undefined && tokenParameter !== undefined) target.searchParams.set(tokenParameter, token)
  return target
}
