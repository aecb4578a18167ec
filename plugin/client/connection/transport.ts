/** The request for one attempt to connect. */
export interface ConnectionRequest {
  /** The URL with the topics in its query, without cursor and token. */
  readonly url: URL
  /** The cursor to continue from; empty if there is none. */
  readonly cursor: string
  /** The result of `getToken`, or undefined. */
  readonly token: string | undefined
  /** The query parameter that carries the token; undefined for the transport's default. */
  readonly tokenParameter: string | undefined
  readonly headers: Readonly<Record<string, string>>
  readonly withCredentials: boolean
}

/** One message as received. `id` is undefined if the message has none, and empty if it resets the id. */
export interface WireMessage { readonly id: string | undefined, readonly event: string, readonly data: string }

/** Receives what a transport reads. All calls are synchronous and in the order of the wire. */
export interface ConnectionSink {
  /** The response is a stream. */
  open (): void
  message (message: WireMessage): void
  /** The stream broke off, and the transport connects again by itself; `open` is called when it has. */
  interrupted (): void
  /** The server asks for this time between connections, in milliseconds. */
  retry (ms: number): void
  /** Bytes have arrived. Called before their content is delivered; never by a transport that cannot see them. */
  chunk (): void
  /** There was a comment among them. */
  comment (): void
  /** Settles when more can be accepted; a transport that can stop reading waits for it after each chunk. */
  ready (): Promise<unknown> | undefined
}

/** How an attempt ended. */
export type Outcome =
  /** A stream that was open was ended by the server or by a network error. */
  | { readonly kind: 'ended', readonly cause?: unknown }
  /** There was no response. */
  | { readonly kind: 'unreachable', readonly cause: unknown }
  /** The response was not a stream. `message` is for users. */
  | {
    readonly kind: 'rejected'
    readonly status: number
    readonly message: string
    readonly retryAfterMs?: number | undefined
  }

/** Connects once. Settles when the connection is over, and soon after an abort, with any outcome; never rejects. */
export interface Transport {
  (request: ConnectionRequest, sink: ConnectionSink, signal: AbortSignal): Promise<Outcome>
  /** The query parameter for tokens, of a transport that cannot send headers. */
  readonly tokenParameter?: string
}

/** The URL of an attempt, including the token if that belongs in the query. */
export function requestUrl ({ url, token, tokenParameter }: ConnectionRequest): URL {
  const target = new URL(url)
  if (token !== undefined && tokenParameter !== undefined) target.searchParams.set(tokenParameter, token)
  return target
}
