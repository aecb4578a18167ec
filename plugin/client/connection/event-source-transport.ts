import { IN_BAND } from '../../common/in-band.ts'
import { browser } from '../browser.ts'
import type { EventSourceLike } from '../browser.ts'
import { requestUrl } from './transport.ts'
import type { ConnectionRequest, ConnectionSink, Outcome, Transport } from './transport.ts'

/** Names that every server uses. EventSource needs a listener for each name. */
const SERVER_NAMES = ['message', ...Object.values(IN_BAND)]
/** The query parameter that the plugin reads a one-time token from. */
const TOKEN_PARAMETER = 'ot'
const CLOSED = 2
const OK = 200

/**
 * A transport over the browser's EventSource, which reconnects by itself while it can and honours `retry:`. It cannot
 * send headers and hides comments: `headers` are not sent, and only the browser can detect a frozen stream. It has no
 * listener for all events, so only events named `message` or one of `eventNames` are received.
 */
export function eventSourceTransport (eventNames: readonly string[] = []): Transport {
  const names = new Set([...SERVER_NAMES, ...eventNames])
  const connect = async (request: ConnectionRequest, sink: ConnectionSink, signal: AbortSignal): Promise<Outcome> => {
    const target = requestUrl(request)
    if (request.cursor !== '') target.searchParams.set('lastEventId', request.cursor)
    const url = target.href
    if (browser.EventSource === undefined) {
      return {
        kind: 'rejected',
        status: 0,
        message: 'there is no EventSource here: use subscribe() with its fetch transport'
      }
    }
    const source = new browser.EventSource(url, { withCredentials: request.withCredentials })
    deliver(source, names, sink)
    const isOver = await closed(source, sink, signal)
    source.close()
    return isOver ? await probe(url, request.withCredentials, signal) : { kind: 'ended', cause: signal.reason }
  }
  return Object.assign(connect, { tokenParameter: TOKEN_PARAMETER })
}

/** Resolves to true if the browser gave up, and to false if the attempt was aborted. */
function closed (source: EventSourceLike, sink: ConnectionSink, signal: AbortSignal): Promise<boolean> {
  return new Promise(resolve => {
    source.onopen = () => sink.open()
    source.onerror = () => source.readyState === CLOSED ? resolve(true) : sink.interrupted()
    signal.addEventListener('abort', () => resolve(false), { once: true })
  })
}

/**
 * `lastEventId` of a message is the last id of this EventSource: empty before the first id, and after an id that was
 * reset.
 */
function deliver (source: EventSourceLike, names: ReadonlySet<string>, sink: ConnectionSink): void {
  let hasId = false
  for (const name of names) {
    source.addEventListener(name, ({ data, lastEventId }) => {
      hasId ||= lastEventId !== ''
      sink.message({ id: hasId ? lastEventId : undefined, event: name, data })
    })
  }
}

/**
 * EventSource does not expose the status. A HEAD request to the same URL has the status of the stream, and spends no
 * token.
 */
async function probe (url: string, withCredentials: boolean, signal: AbortSignal): Promise<Outcome> {
  try {
    const { status } = await fetch(url, {
      method: 'HEAD',
      signal,
      credentials: withCredentials ? 'include' : 'same-origin'
    })
    if (status === OK) return { kind: 'unreachable', cause: new Error('EventSource closed the stream') }
    return { kind: 'rejected', status, message: `${status}, as seen by a HEAD request to the same URL` }
  } catch (cause) {
    return { kind: 'unreachable', cause }
  }
}
