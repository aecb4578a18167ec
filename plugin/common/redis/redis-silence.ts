import type { Redis } from 'ioredis'

const PING_MS = 2_000
/** Nothing was heard for this long after a ping: the connection is silent. */
const SILENT_MS = 4_000
/**
 * What is sent only to see whether it is answered: pings, and the canary of the log. Anything else may take its time.
 */
const PROBES = new Set(['ping', 'publish', 'spublish'])

/**
 * Finds a connection that has fallen silent and replaces it. A network that drops packets resets nothing: commands
 * would time out one after the other until the kernel gives up, after a quarter of an hour. Each connection pings for
 * itself, so that a healthy one is never blamed for another.
 *
 * A ping waits behind the commands that were sent before it, and a large one may take longer than a ping. So a
 * connection is silent only when nothing at all comes, and not while a command waits within its time-out
 * (`commandTimeout` of the connection).
 */
export class SilenceWatch {
  readonly #connection: Redis
  readonly #onSilent: () => void
  readonly #timer: NodeJS.Timeout
  /** When the first ping since the server was last heard was sent, on the monotonic clock. */
  #askedAt: number | undefined
  /** When a command was first seen waiting since then. */
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

  /** Whatever the server says shows that it is there: an answer, a part of one, a message. */
  readonly #listen = (): void => { this.#connection.stream.on('data', this.#forget) }

  #look (): void {
    if (this.#connection.status !== 'ready') return
    if (this.#isBusy()) this.#busyAt ??= performance.now()
    // After a turn in which this process was busy for long, the answer may be waiting to be read: that comes before
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
    // An error is an answer, too; that there was none in time is seen here.
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
