import { setTimeout as wait } from 'node:timers/promises'
import { serveCalls } from '../harness/rpc.ts'
import { stampedData } from './event-counter.ts'
import { HttpConnection } from './http-connection.ts'

export interface PublishLoad {
  port: number
  /** The events are published to these in turn. */
  paths: readonly string[]
  events: number
  /** Size of the data of each event in bytes. */
  size: number
  /** Number of events in one request, one per line. Default 1. */
  batch?: number
  /** Requests started per second, whether or not earlier ones were answered. Default: as fast as they are answered. */
  perSecond?: number
  /** Number of concurrent requests without `perSecond`. Default 64. */
  inFlight?: number
  /** Media type of the bodies. Default text/plain. */
  contentType?: string
  /** The data looks like JSON and not like padding, for what compresses it. */
  looksLikeJson?: boolean
  /** Send one event as `{"data":…}`. Default: the lines themselves. */
  json?: boolean
}

export interface PublishReport {
  startedAtMs: number
  /** Time until the last response. */
  seconds: number
  /** The `id` of the last response, if it is JSON with one. */
  lastId: string | undefined
}

const DEFAULT_IN_FLIGHT = 64
/** Idle connections by port. */
const idle = new Map<number, HttpConnection[]>()

serveCalls({ ready: () => true, publish })

/** Rejects if a request fails or its response is not 2xx. */
async function publish (load: PublishLoad): Promise<PublishReport> {
  const startedAtMs = now()
  const { events, batch = 1, perSecond, inFlight = DEFAULT_IN_FLIGHT } = load
  const requests = Math.ceil(events / batch)
  let lastId: string | undefined
  const step = async (at: number): Promise<void> => { lastId = await post(load, at) }
  await (perSecond === undefined ? closedLoop(requests, inFlight, step) : openLoop(requests, perSecond, step))
  return { startedAtMs, seconds: (now() - startedAtMs) / 1e3, lastId }
}

async function closedLoop (requests: number, inFlight: number, step: (at: number) => Promise<void>): Promise<void> {
  let begun = 0
  const run = async (): Promise<void> => { while (begun < requests) await step(begun++) }
  await Promise.all(Array.from({ length: inFlight }, run))
}

async function openLoop (requests: number, perSecond: number, step: (at: number) => Promise<void>): Promise<void> {
  const startedAtMs = now()
  const steps: Promise<void>[] = []
  for (let at = 0; at < requests; at++) {
    const dueInMs = startedAtMs + at * 1e3 / perSecond - now()
    if (dueInMs > 1) await wait(dueInMs)
    steps.push(step(at))
  }
  await Promise.all(steps)
}

async function post (load: PublishLoad, at: number): Promise<string | undefined> {
  const { port, paths, size, events, batch = 1, contentType = 'text/plain' } = load
  const lines = Array.from(
    { length: Math.min(batch, events - at * batch) },
    () => stampedData(size, load.looksLikeJson)
  )
  const connection = connectionTo(port)
  const text = load.json === true ? JSON.stringify({ data: lines[0] }) : lines.join('\n')
  const { status, body } = await connection.post(paths[at % paths.length]!, contentType, text)
  if (status < 200 || status >= 300) throw new Error(`publish: ${status} ${body}`)
  idle.get(port)!.push(connection)
  return /"id":"([^"]+)"/.exec(body)?.[1]
}

function connectionTo (port: number): HttpConnection {
  const free = idle.get(port) ?? []
  idle.set(port, free)
  for (let connection = free.pop(); connection !== undefined; connection = free.pop()) {
    if (connection.isUsable) return connection
    connection.close()
  }
  return new HttpConnection(port)
}

function now (): number {
  return Number(process.hrtime.bigint()) / 1e6
}
