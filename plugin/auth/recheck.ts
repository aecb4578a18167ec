import type { FastifyBaseLogger } from 'fastify'
import { answerInTime } from './answer.ts'
import type { GrantedStream, GrantedStreams } from './granted-streams.ts'

/** How many questions to the application are open at the same time. */
const MAX_QUESTIONS = 16

/** Ends the streams that have lost their grant. One that rejects ends none; it must settle. */
type Check = () => Promise<void>

interface RecheckInit {
  checks: readonly Check[]
  everyMs: number
  log: FastifyBaseLogger
}

/**
 * Checks the grants of open streams again, all in one go: the guarantee behind whatever tells of a revocation at once.
 * Who cannot be asked ends no stream: it goes on until its own expiry. Each check runs once at a time, and none waits
 * for another.
 */
export class Recheck {
  readonly #init: RecheckInit
  readonly #timer: NodeJS.Timeout
  readonly #underWay = new Map<Check, Promise<void>>()

  constructor (init: RecheckInit) {
    this.#init = init
    this.#timer = setInterval(() => { void this.run() }, init.everyMs).unref()
  }

  /** Settles when all checks are over, those included that were under way. Never rejects. */
  async run (): Promise<void> {
    await Promise.all(this.#init.checks.map(check => this.#underWay.get(check) ?? this.#start(check)))
  }

  /** The same where no check counts that began before: it may have read the store before what is looked for. */
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
 * Asks the application about each stream whose grant it gave, a few at a time; rejects with the first failure when all
 * are asked.
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
 * A grant that came back for somebody else, or without what is streamed, is a lost one; one that is over ends as it
 * does by itself.
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
