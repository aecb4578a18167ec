/** Where trouble with Redis is reported; a part of Fastify's logger. */
export interface TroubleLogger {
  info?: (details: object, message: string) => void
  warn: (details: object, message: string) => void
}

/** Trouble is over once it has not come back for this long: a connection that flaps is one trouble. */
const SETTLED_MS = 1_000

/**
 * What keeps a log or a token store from Redis, by connection. However many connections, topics and retries there are,
 * the log has one line when the first of all begins to fail and one when all of them work again; in between `problem`
 * is the reason.
 */
export class RedisTrouble {
  readonly #reasons = new Map<string, string>()
  readonly #address: string
  #logger: TroubleLogger | undefined

  /** Where Redis is, for the log. */
  constructor (address: string) {
    this.#address = address
  }

  /** The newest reason among the connections that do not work; undefined when all of them do. */
  get problem (): string | undefined { return [...this.#reasons.values()].at(-1) }

  /** Names of the connections that do not work. */
  get names (): string[] { return [...this.#reasons.keys()] }

  /** Reports to this logger from now on. */
  start (logger: TroubleLogger): void {
    this.#logger = logger
  }

  /** A connection does not work; `message` says which, for the log. Called again, it changes the reason. */
  begin (name: string, reason: string, message: string): void {
    if (!this.#logger) return
    this.#reasons.delete(name)
    this.#reasons.set(name, reason)
    outageOf(this.#logger).begin(this, { problem: reason, address: this.#address }, message)
  }

  /** The connection works, or is of no interest any more. */
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
 * Outages under way, by the logger that has their first line: the log and the token store of an application share one.
 */
const outages = new Map<TroubleLogger, Outage>()

function outageOf (logger: TroubleLogger): Outage {
  return outages.get(logger) ?? new Outage(logger)
}

/** From the first connection that fails to the last that works again. */
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

  /** Its owner stops: whether the trouble is over is not known. */
  leave (trouble: RedisTrouble): void {
    this.#troubles.delete(trouble)
    if (this.#troubles.size > 0) return
    clearTimeout(this.#settling)
    outages.delete(this.#logger)
  }
}
