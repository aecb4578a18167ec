import { CallError } from '../page/api.ts'
import type { Api } from '../page/api.ts'
import { formatBytes, formatSpan } from '../page/format.ts'
import { Probe } from './probe.ts'
import { within } from './within.ts'

/** One result of the test. */
export interface Finding { readonly level: 'good' | 'bad' | 'note', readonly text: string }

export interface SelfTestInit {
  readonly api: Api
  readonly topic: string
  /** How long the stream is left idle to see whether anything disconnects it, in ms; 0 skips this part. */
  readonly holdMs: number
  readonly onFinding: (finding: Finding) => void
  /** Reports the current step. */
  readonly onStep: (text: string) => void
}

/**
 * An event that takes longer than this was held back by a proxy: no network that somebody would test has a latency of 5
 * s.
 */
const MAX_WAIT_MS = 5_000
const PINGS = 5
/** Size of the events that are published to fill a proxy's buffer. By default nginx has 8 buffers of 4 or 8 KiB. */
const FILLER_BYTES = 16 * 1024
const MAX_FILLERS = 20
const FILLER_WAIT_MS = 300
/** A delay that a user would notice. */
const LATE_MS = 1_000
/** More than two of the service's default heartbeat intervals. */
const HEARTBEATS_MS = 35_000

const BUFFERING = 'Switch buffering and compression off for /events, in nginx with "proxy_buffering off" and ' +
  '"gzip off". See docs/proxies.md.'
const HTTP1 = 'HTTP/1.1: a browser opens at most six streams to a host, in all tabs together. HTTP/2 has no such ' +
  'limit.'
const CUTTING = 'Set the idle timeout of the proxy above HEARTBEAT_MS (15 s by default), in nginx with ' +
  '"proxy_read_timeout". See docs/proxies.md.'

/**
 * Tests whether a proxy between this page and the service buffers or cuts streams. Opens a stream, publishes events and
 * waits for each; then leaves the stream idle to see whether it is cut; then reconnects to check that it resumes
 * without loss.
 */
export async function runSelfTest (init: SelfTestInit): Promise<void> {
  const probe = new Probe(init.api, init.topic)
  try {
    await new SelfTest(init, probe).run()
  } catch (error) {
    if (!(error instanceof CallError)) throw error
    const advice = 'Choose a topic that you may publish and subscribe to.'
    init.onFinding({ level: 'bad', text: `The test cannot publish to ${init.topic}: ${error.message}. ${advice}` })
  } finally {
    await probe.close()
  }
}

class SelfTest {
  readonly #init: SelfTestInit
  readonly #probe: Probe
  readonly #beganAt = performance.now()

  constructor (init: SelfTestInit, probe: Probe) {
    this.#init = init
    this.#probe = probe
  }

  async run (): Promise<void> {
    this.#noteProtocol()
    this.#init.onStep('Opening a stream…')
    const opened = await within(Promise.race([this.#probe.opened, this.#probe.rejected]), MAX_WAIT_MS)
    if (typeof opened === 'string') return this.#find('bad', `The stream was rejected: ${opened}`)
    if (opened) this.#find('good', `The stream opened after ${formatSpan(performance.now() - this.#beganAt)}.`)
    else this.#find('bad', `The stream sent nothing for ${formatSpan(MAX_WAIT_MS)}: the service writes at once.`)
    if (!opened || !await this.#ping()) return this.#fill()
    if (this.#init.holdMs > 0) await this.#hold()
    await this.#resume()
  }

  /** Publishes events one after another, each after the previous one has arrived. False if one did not arrive. */
  async #ping (): Promise<boolean> {
    const delaysMs: number[] = []
    for (let at = 0; at < PINGS; at++) {
      this.#init.onStep(`Publishing event ${at + 1} of ${PINGS}…`)
      const publishedAt = performance.now()
      const { arrival } = await this.#probe.publish()
      if (!await within(arrival, MAX_WAIT_MS)) return false
      delaysMs.push(performance.now() - publishedAt)
    }
    const medianMs = delaysMs.sort((a, b) => a - b)[PINGS >> 1]!
    const ms = Math.round(medianMs)
    if (ms > LATE_MS) this.#find('bad', `Events arrive late, ${ms} ms after their publish: something holds them back.`)
    else this.#find('good', `Nothing buffers the stream: each event arrived alone, ${ms} ms after it was published.`)
    return true
  }

  /** Publishes more and more data, until a full buffer is flushed. */
  async #fill (): Promise<void> {
    for (let at = 1; at <= MAX_FILLERS; at++) {
      this.#init.onStep(`Filling the buffer: ${formatBytes(at * FILLER_BYTES)}…`)
      const { arrival } = await this.#probe.publish(FILLER_BYTES)
      const waitMs = at === MAX_FILLERS ? MAX_WAIT_MS : FILLER_WAIT_MS
      if (!await within(Promise.race([arrival, this.#probe.opened]), waitMs)) continue
      const size = formatBytes(at * FILLER_BYTES)
      return this.#find('bad', `A proxy buffers the stream: events arrived only after about ${size} more. ${BUFFERING}`)
    }
    const size = formatBytes(MAX_FILLERS * FILLER_BYTES)
    this.#find('bad', `A proxy buffers the stream: nothing arrived after ${size} had been published. ${BUFFERING}`)
  }

  async #hold (): Promise<void> {
    const { holdMs, onStep } = this.#init
    onStep(`Leaving the stream idle for ${formatSpan(holdMs)}…`)
    const idleSince = performance.now()
    const bytesBefore = this.#probe.watched.bytes
    const cut = await within(this.#probe.cut, holdMs)
    if (cut) {
      const idleFor = formatSpan(cut.atMs - idleSince)
      return this.#find('bad', `The stream was cut after ${idleFor} without events (${cut.why}). ${CUTTING}`)
    }
    this.#find('good', `Nothing cut the stream within ${formatSpan(holdMs)}.`)
    if (holdMs < HEARTBEATS_MS || this.#probe.watched.bytes > bytesBefore) return
    this.#find('bad', 'No heartbeat arrived: HEARTBEAT_MS is longer than that, or a proxy holds heartbeats back.')
  }

  /** Events published around a reconnect must arrive once and in order. */
  async #resume (): Promise<void> {
    this.#init.onStep('Reconnecting…')
    this.#probe.reconnect()
    const { arrival } = await this.#probe.publish()
    await within(arrival, 2 * MAX_WAIT_MS)
    const { arrived, published } = this.#probe
    const isExact = arrived.length === published && arrived.every((n, at) => n === at)
    const all = `all ${published} events once and in order`
    if (isExact) this.#find('good', `The stream resumed after a reconnect: ${all}.`)
    else this.#find('bad', `The stream did not resume: ${arrived.length} of ${published} events after a reconnect.`)
  }

  #noteProtocol (): void {
    const [entry] = performance.getEntriesByType('navigation') as PerformanceNavigationTiming[]
    const protocol = entry?.nextHopProtocol
    if (protocol === 'http/1.1') this.#find('note', HTTP1)
    if (protocol === 'h2' || protocol === 'h3') {
      this.#find('note', `HTTP/${protocol[1]}: all streams share a connection.`)
    }
  }

  #find (level: Finding['level'], text: string): void {
    this.#init.onFinding({ level, text })
  }
}
