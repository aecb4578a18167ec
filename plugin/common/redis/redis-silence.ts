import type { Redis } from 'ioredis'

const PING_MS = 2_000
/** A ping that is not answered for this long: the connection is silent. */
const SILENT_MS = 4_000

/**
 * Finds a connection that has fallen silent and replaces it. A network that drops packets resets nothing: commands would time
 * out one after the other until the kernel gives up, after a quarter of an hour. Each connection pings for itself, so that a
 * healthy one is never blamed for another.
 */
export class SilenceWatch {
  readonly #connection: Redis
  readonly #onSilent: () => void
  readonly #timer: NodeJS.Timeout
  /** When the oldest ping without an answer was sent, on the monotonic clock. */
  #askedAt: number | undefined

  /** `onSilent` is called before the connection is replaced. */
  constructor (connection: Redis, onSilent: () => void) {
    this.#connection = connection
    this.#onSilent = onSilent
    this.#timer = setInterval(() => this.#look(), PING_MS).unref()
    connection.on('close', this.#forget)
  }

  stop (): void {
    clearInterval(this.#timer)
    this.#connection.off('close', this.#forget)
  }

  readonly #forget = (): void => { this.#askedAt = undefined }

  #look (): void {
    if (this.#connection.status !== 'ready') return
    // After a turn in which this process was busy for long, the answer may be waiting to be read: that comes before setImmediate.
    if (this.#isSilent()) setImmediate(() => { if (this.#isSilent()) this.#replace() })
    else this.#ping()
  }

  #isSilent (): boolean {
    return this.#askedAt !== undefined && performance.now() - this.#askedAt >= SILENT_MS
  }

  #ping (): void {
    this.#askedAt ??= performance.now()
    // An error is an answer, too; that there was none in time is seen here.
    this.#connection.ping().then(this.#forget, (error: Error) => { if (error.name === 'ReplyError') this.#forget() })
  }

  #replace (): void {
    this.#forget()
    this.#onSilent()
    this.#connection.disconnect(true)
  }
}
