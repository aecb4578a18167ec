import type { FastifyBaseLogger } from 'fastify'
import type { OpenStream, OpenStreams } from './open-streams.ts'

/** How many questions to the application are open at the same time. */
const MAX_QUESTIONS = 16

interface RecheckInit {
  /** Each ends the streams that have lost their grant. One that rejects ends none. */
  checks: readonly (() => Promise<void>)[]
  everyMs: number
  log: FastifyBaseLogger
}

/**
 * Checks the grants of open streams again, all in one go: the guarantee behind whatever tells of a revocation at once.
 * Who cannot be asked ends no stream: it goes on until its own expiry. One round at a time.
 */
export class Recheck {
  readonly #init: RecheckInit
  readonly #timer: NodeJS.Timeout
  #round: Promise<void> | undefined

  constructor (init: RecheckInit) {
    this.#init = init
    this.#timer = setInterval(() => { void this.run() }, init.everyMs).unref()
  }

  /** Settles when the round is over; the one that is under way, if there is. Never rejects. */
  run (): Promise<void> {
    this.#round ??= this.#checkAll().finally(() => { this.#round = undefined })
    return this.#round
  }

  stop (): void { clearInterval(this.#timer) }

  async #checkAll (): Promise<void> {
    const { checks, log } = this.#init
    for (const check of checks) {
      await check().catch((err: unknown) => log.warn({ err }, 'the grants of open streams could not be checked again'))
    }
  }
}

/** Asks the application about each stream whose grant it gave, a few at a time. */
export async function askAgain (streams: OpenStreams): Promise<void> {
  const waiting = [...streams].values()
  const failures: unknown[] = []
  const ask = async (): Promise<void> => {
    for (const open of waiting) await askOne(streams, open).catch((error: unknown) => failures.push(error))
  }
  await Promise.all(Array.from({ length: MAX_QUESTIONS }, ask))
  if (failures.length > 0) throw failures[0]
}

/** A grant that came back for somebody else, or without what is streamed, is a lost one; one that is over ends as it does by itself. */
async function askOne (streams: OpenStreams, open: OpenStream): Promise<void> {
  if (open.askAgain === undefined) return
  const grant = await open.askAgain()
  if (grant === null || grant.subject !== open.grant.subject || !open.topics.every(topic => grant.maySubscribe(topic))) open.stream.close('revoked')
  else streams.renew(open, grant)
}
