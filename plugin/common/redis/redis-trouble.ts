/** The part of Fastify's logger to which Redis problems are reported. */
export interface TroubleLogger {
  info?: (details: object, message: string) => void
  warn: (details: object, message: string) => void
}

/** A problem counts as solved if it has not recurred for this long: a flapping connection is one problem. */
const SETTLED_MS = 1_000

/**
 * The current problems of a log or a token store with Redis, by connection. However many connections, topics and
 * retries there are, the application's log has one line when the first connection fails and one when all of them work
 * again; in between, `problem` is the reason.
 */
export class RedisTrouble {
  readonly #reasons = new Map<string, string>()
  readonly #address: string
  #logger: TroubleLogger | undefined

  /** `address` says which Redis it is, for the log. */
  constructor (address: string) {
    this.#address = address
  }

  /** The most recent reason among the connections that do not work; undefined if all of them work. */
  get problem (): string | undefined { return [...this.#reasons.values()].at(-1) }

  /** Names of the connections that do not work. */
  get names (): string[] { return [...this.#reasons.keys()] }

  /** Reports to this logger from now on. */
  start (logger: TroubleLogger): void {
    this.#logger = logger
  }

  /**
   * Reports that a connection does not work; `message` is the log line that names it. A further call changes the
   * reason.
   */
  begin (name: string, reason: string, message: string): void {
    if (!this.#logger) return
    this.#reasons.delete(name)
    this.#reasons.set(name, reason)
    outageOf(this.#logger).begin(this, { problem: reason, address: this.#address }, message)
  }

  /** Reports that the connection works, or is no longer used. */
  end (name: string): void {
    if (this.#reasons.delete(name) && this.#reasons.size === 0) outageOf(this.#logger!).end(this)
  }

  /** Reports nothing from now on. */
  stop (): void {
    this.#reasons.clear()
    if (this.#logger) outageOf(this.#logger).leave(this)
    this.#logger = undefined
  }
}

/**
 * Current outages, by the logger that has their first line: the log and the token store of an application share one.
 */
const outages = new Map<TroubleLogger, Outage>()

function outageOf (logger: TroubleLogger): Outage {
  return outages.get(logger) ?? new Outage(logger)
}

/** From the first failing connection until all connections work again. */
class Outage {
  readonly #logger: TroubleLogger
  readonly #troubles = new Set<RedisTrouble>()
  readonly #beganAt = performance.now()
  #settling: NodeJS.Timeout | undefined

  constructor (logger: TroubleLogger) {
    this.#logger = logger
  }

  begin (trouble: RedisTrouble, details: object, message: string): void {
    clearTimeout(this.#settling)
    this.#troubles.add(trouble)
    if (outages.has(this.#logger)) return
    outages.set(this.#logger, this)
    this.#logger.warn(details, `redis: ${message}`)
  }

  end (trouble: RedisTrouble): void {
    this.#troubles.delete(trouble)
    if (this.#troubles.size > 0) return
    this.#settling = setTimeout(() => {
      outages.delete(this.#logger)
      this.#logger.info?.(
        { durationMs: Math.round(performance.now() - this.#beganAt) },
        'redis: all connections work again'
      )
    }, SETTLED_MS).unref()
  }

  /** Called when the owner stops: it is unknown whether the problem is solved. */
  leave (trouble: RedisTrouble): void {
    this.#troubles.delete(trouble)
    if (this.#troubles.size > 0) return
    clearTimeout(this.#settling)
    outages.delete(this.#logger)
  }
}
