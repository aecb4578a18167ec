import type { Redis } from 'ioredis'

const PING_MS = 2_000
/** A connection is silent if nothing was received for this long after a ping. */
const SILENT_MS = 4_000
/**
 * Commands that are sent only to see whether they are answered: pings, and the probe of the log. Any other command may
 * take longer.
 */
const PROBES = new Set(['ping', 'publish', 'spublish'])

/**
 * Detects a connection that has fallen silent, and replaces it. A network that drops packets resets no connections:
 * commands would time out one after another until the kernel gives up, after about 15 minutes. Each connection sends
 * its own pings, so that a healthy one is never blamed for another.
 *
 * A ping waits behind the commands that were sent before it, and a large command may take longer than a ping. So a
 * connection counts as silent only if nothing at all is received, and not while a command is within its time-out
 * (`commandTimeout` of the connection).
 */
export class SilenceWatch {
  readonly #connection: Redis
  readonly #onSilent: () => void
  readonly #timer: NodeJS.Timeout
  /** When the first ping was sent since the server last sent something; on the monotonic clock. */
  #askedAt: number | undefined
  /** When a pending command was first seen since then. */
  #busyAt: number | undefined

  /** `onSilent` is called before the connection is replaced. */
  constructor (connection: Redis, onSilent: () => void) {
    this.#connection = connection
    this.#onSilent = onSilent
    this.#timer = setInterval(() => this.#look(), PING_MS).unref()
    connection.on('close', this.#forget)
    connection.on('connect', this.#listen)
  }

  stop (): void {
    clearInterval(this.#timer)
    this.#connection.off('close', this.#forget)
    this.#connection.off('connect', this.#listen)
  }

  readonly #forget = (): void => { this.#askedAt = this.#busyAt = undefined }

  /** Any data shows that the server is alive: an answer, a part of one, or a message. */
  readonly #listen = (): void => { this.#connection.stream.on('data', this.#forget) }

  #look (): void {
    if (this.#connection.status !== 'ready') return
    if (this.#isBusy()) this.#busyAt ??= performance.now()
    // After a long synchronous task in this process the answer may be waiting to be read: that happens before
    // setImmediate.
    if (this.#isSilent()) setImmediate(() => { if (this.#isSilent()) this.#replace() })
    else this.#ping()
  }

  #isBusy (): boolean {
    return this.#connection.commandQueue.toArray().some(({ command }) => !PROBES.has(command.name))
  }

  #isSilent (): boolean {
    return (
      hasPassed(this.#askedAt, SILENT_MS) &&
      (this.#busyAt === undefined || hasPassed(this.#busyAt, this.#connection.options.commandTimeout!))
    )
  }

  #ping (): void {
    this.#askedAt ??= performance.now()
    // An error is an answer, too; a missing answer is detected by this watch.
    this.#connection.ping().catch(() => {})
  }

  #replace (): void {
    this.#forget()
    this.#onSilent()
    this.#connection.disconnect(true)
  }
}

function hasPassed (sinceMs: number | undefined, ms: number): boolean {
  return sinceMs !== undefined && performance.now() - sinceMs >= ms
}
