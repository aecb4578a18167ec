import { IN_BAND } from '../../common/in-band.ts'
import { Connector } from '../connection/connector.ts'
import type { ConnectionRequest, ConnectionSink, Outcome, Transport } from '../connection/transport.ts'
import type { GapDetail } from '../events.ts'
import type { SubscribeOptions } from '../options.ts'
import { isPosition, parseId } from './position.ts'

/** The parameters of a URL that set where a client without a cursor starts. */
const START_PARAMETERS = ['last', 'since', 'starting_after', 'lastEventId']

/** Where a member starts: the position of each topic, and what is missing before it. */
export interface Start {
  readonly kind: 'start'
  readonly cursor: string
  readonly gaps: readonly GapDetail[]
  /** True if the server sent the cursor. */
  readonly isConfirmed: boolean
}

/** One attempt of a subscription to connect: the arguments of its transport, and what the transport is made of. */
export interface Attempt {
  readonly request: ConnectionRequest
  readonly options: SubscribeOptions<never>
  readonly transport: Transport
  readonly sink: ConnectionSink
  readonly signal: AbortSignal
}

/**
 * Where the member of this request starts. Usually its cursor shows that, or it starts now. If only the server knows,
 * this asks it: opens a stream, and closes it when the server has sent its first cursor.
 */
export async function startOf (attempt: Attempt): Promise<Start | Outcome> {
  const { cursor, url: { searchParams } } = attempt.request
  const isClear = cursor === ''
    ? !START_PARAMETERS.some(name => searchParams.has(name))
    : parseId(cursor) ? searchParams.getAll('topic').length === 1 : cursor.split(',').every(isPosition)
  return isClear ? { kind: 'start', cursor, gaps: [], isConfirmed: false } : await askServer(attempt)
}

/** Asks the server where the member of this request starts. */
export function askServer (attempt: Attempt): Promise<Start | Outcome> {
  const { request: { cursor, url }, options, transport, sink, signal } = attempt
  return new Promise(resolve => {
    if (signal.aborted) return resolve({ kind: 'ended' })
    const topics = url.searchParams.getAll('topic')
    const gaps: GapDetail[] = []
    const settle = (result: Start | Outcome): void => { resolve(result); connector.close() }
    const connector = new Connector({ ...options, topics, envelope: true }, transport, cursor, {
      opened: () => { gaps.length = 0 },
      gap: detail => { gaps.push(detail) },
      moved: first => settle({ kind: 'start', cursor: first, gaps, isConfirmed: true }),
      ended: ({ topic }) => { if (topic === undefined) settle({ kind: 'rejected', status: 204, message: '' }) },
      failed: ({ cause, ...detail }) => {
        const { willRetry, status = 0, message } = detail
        if (!willRetry) settle({ kind: 'rejected', status, message })
        else sink.message({ id: undefined, event: IN_BAND.error, data: JSON.stringify(detail) })
      },
      // Without a cursor there is nothing to start from.
      published: () => {},
      expiring: () => {},
      changed: state => { if (state === 'closed') resolve({ kind: 'ended' }) },
      ready: () => undefined
    })
    signal.addEventListener('abort', () => settle({ kind: 'ended' }), { once: true })
  })
}
