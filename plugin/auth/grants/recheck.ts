import type { FastifyBaseLogger } from 'fastify'
import { answerInTime } from '../with-timeout.ts'
import type { GrantedStream, GrantedStreams } from './granted-streams.ts'

/** Maximum number of concurrent calls to the application. */
const MAX_QUESTIONS = 16

/** Ends the streams that have lost their grant. If it rejects, it has ended none. It must always settle. */
type Check = () => Promise<void>

interface RecheckInit {
  checks: readonly Check[]
  everyMs: number
  log: FastifyBaseLogger
}

/**
 * Checks the grants of all open streams periodically, in case an immediate notification of a revocation was lost. If a
 * check is not possible, no stream is ended: each continues until its own expiry. Each check runs only once at a time,
 * and none waits for another.
 */
export class Recheck {
  readonly #init: RecheckInit
  #timer: NodeJS.Timeout | undefined
  readonly #underWay = new Map<Check, Promise<void>>()

  constructor (init: RecheckInit) {
    this.#init = init
  }

  start (): void {
    this.#timer = setInterval(() => { void this.run() }, this.#init.everyMs).unref()
  }

  /** Settles when all checks are done, including those in progress. Never rejects. */
  async run (): Promise<void> {
    await Promise.all(this.#init.checks.map(check => this.#underWay.get(check) ?? this.#start(check)))
  }

  /** Like `run`, but ignores checks that began before the call: they may have read the store too early. */
  async runAnew (): Promise<void> {
    await Promise.all(this.#underWay.values())
    await this.run()
  }

  stop (): void { clearInterval(this.#timer) }

  #start (check: Check): Promise<void> {
    const run = check()
      .catch((err: unknown) => this.#init.log.warn({ err }, 'the grants of open streams could not be checked again'))
      .finally(() => this.#underWay.delete(check))
    this.#underWay.set(check, run)
    return run
  }
}

/**
 * Asks the application about each stream whose grant it issued, a few at a time; rejects with the first failure after
 * all have been asked.
 */
export async function askAgain (streams: GrantedStreams, timeoutMs: number): Promise<void> {
  const waiting = [...streams].values()
  const failures: unknown[] = []
  const ask = async (): Promise<void> => {
    for (const open of waiting) await askOne(streams, open, timeoutMs).catch((error: unknown) => failures.push(error))
  }
  await Promise.all(Array.from({ length: MAX_QUESTIONS }, ask))
  if (failures.length > 0) throw failures[0]
}

/**
 * A returned grant for another subject, or without the topics of the stream, counts as lost; an expired one ends
 * through its timer.
 */
async function askOne (streams: GrantedStreams, open: GrantedStream, timeoutMs: number): Promise<void> {
  if (open.askAgain === undefined) return
  const grant = await answerInTime(`${open.grant.source}.verify`, timeoutMs, open.askAgain())
  if (
    grant === null ||
    grant.subject !== open.grant.subject ||
    !open.stream.topics.every(topic => grant.maySubscribe(topic))
  ) {
    open.stream.close('revoked')
  } else streams.renew(open, grant)
}
