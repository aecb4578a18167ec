import type { IncomingMessage } from 'node:http'

/** Requests whose body is limited by its reader, and not by the general time-out of requests. */
const live = new WeakSet<IncomingMessage>()

/**
 * Exempts a request from Node's time-out, which is the same for all requests of a server and reported only once per
 * request. Call it if something else limits the request.
 */
export function markLive (request: IncomingMessage): void { live.add(request) }

/** Applies the time-out to the request again. */
export function unmarkLive (request: IncomingMessage): void { live.delete(request) }

export function isLive (request: IncomingMessage | undefined): boolean {
  return request !== undefined && live.has(request)
}
