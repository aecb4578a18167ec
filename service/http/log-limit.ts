import type { FastifyBaseLogger, FastifyInstance, FastifyServerOptions } from 'fastify'

/** Pino's levels: warnings and errors are limited; lower levels are only enabled on request. */
const WARN = 40
/** A problem is over if no request has had it for this long. */
const QUIET_MS = 10_000
/** A problem that lasts is logged again after this long, so that the end of the log shows it. */
const REPEAT_MS = 600_000
/** Maximum number of problems that are counted separately; further ones are counted together. */
const MAX_KINDS = 100

type PinoHooks = NonNullable<Exclude<FastifyServerOptions['logger'], boolean | undefined>['hooks']>
type Reporter = Pick<FastifyBaseLogger, 'warn'>

/** The logger of a line: that of a request has the request id. */
interface LineLogger { bindings: () => Record<string, unknown>, isLevelEnabled: (level: string) => boolean }

/** The fields of a line that identify its subject. */
interface Details { code?: unknown, err?: { code?: unknown }, sse?: { reason?: unknown } }

/** Requests with the same problem since its first line. */
interface Trouble { requests: number, readonly beganAt: number, loggedAt: number, readonly timer: NodeJS.Timeout }

/**
 * Keeps requests from flooding the log. The first request with a problem (by error code) is logged unchanged, the
 * following ones are counted, and when none has had it for 10 s one line reports their number. While it lasts, the
 * number so far and the newest request are logged every 10 minutes. At `debug` every line is written.
 */
export class LogLimit {
  readonly #quietMs: number
  readonly #repeatMs: number
  readonly #troubles = new Map<string, Trouble>()
  #reporter: Reporter | undefined

  constructor (quietMs = QUIET_MS, repeatMs = REPEAT_MS) {
    this.#quietMs = quietMs
    this.#repeatMs = repeatMs
  }

  /** Hooks for the options of pino. */
  get hooks (): PinoHooks {
    const isShown = (logger: LineLogger, args: readonly unknown[], level: number): boolean =>
      this.#isShown(logger, args, level)
    return {
      logMethod (args, method, level) {
        if (isShown(this, args, level)) method.apply(this, args)
      }
    }
  }

  /** Reports the counts to the logger of the app, and any remaining ones when the app closes. */
  start (app: FastifyInstance): void {
    this.#reporter = app.log
    app.addHook('onClose', async () => this.stop())
  }

  /** Reports the counts so far. */
  stop (): void {
    for (const kind of this.#troubles.keys()) this.#end(kind)
  }

  #isShown (logger: LineLogger, args: readonly unknown[], level: number): boolean {
    if (level < WARN || logger.isLevelEnabled('debug') || logger.bindings().reqId === undefined) return true
    return this.#isDue(this.#kindOf(args))
  }

  /** The first request with a problem is logged, and then one every 10 minutes. */
  #isDue (kind: string): boolean {
    const now = performance.now()
    const trouble = this.#troubles.get(kind)
    if (trouble === undefined) {
      const timer = setTimeout(() => this.#end(kind), this.#quietMs).unref()
      this.#troubles.set(kind, { requests: 1, beganAt: now, loggedAt: now, timer })
      return true
    }
    trouble.requests++
    trouble.timer.refresh()
    if (now - trouble.loggedAt < this.#repeatMs) return false
    trouble.loggedAt = now
    this.#report(kind, trouble)
    return true
  }

  /** By code, or by message if there is none: never by anything specific to one request. */
  #kindOf ([details, message]: readonly unknown[]): string {
    const { code, err, sse } = Object(details) as Details
    const text = typeof details === 'string' ? details : message
    const kind = String(code ?? err?.code ?? sse?.reason ?? text)
    return this.#troubles.has(kind) || this.#troubles.size < MAX_KINDS ? kind : 'other'
  }

  #end (kind: string): void {
    const trouble = this.#troubles.get(kind)!
    this.#troubles.delete(kind)
    clearTimeout(trouble.timer)
    if (trouble.requests > 1) this.#report(kind, trouble)
  }

  #report (kind: string, { requests, beganAt }: Trouble): void {
    const durationMs = Math.round(performance.now() - beganAt)
    this.#reporter!.warn(
      { trouble: kind, requests, durationMs },
      'repeated problem: further requests were not logged individually'
    )
  }
}
