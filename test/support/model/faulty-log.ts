import { errors } from '../../../plugin/topics/errors.ts'
import type { EventId } from '../../../plugin/topics/ids/event-id.ts'
import type { LeaseReply, LeaseRequest } from '../../../plugin/topics/log/lease.ts'
import type {
  Appended,
  LogEntry,
  LogLogger,
  Location,
  TopicEnds,
  TopicListener,
  TopicLog
} from '../../../plugin/topics/log/topic-log.ts'
import type { Random } from './random.ts'

/** How unreliable a log is; probabilities per message or command. */
export interface Faults { dropped: number, repeated: number, held: number, refused: number, unanswered: number }

export const NO_FAULTS: Faults = { dropped: 0, repeated: 0, held: 0, refused: 0, unanswered: 0 }

/**
 * Ways to break the rules on which the guarantee depends, to show that the model test notices: the resume rule accepts
 * every cursor; a resync finds nothing missing.
 */
const SABOTAGE = {
  'resume rule': (location: Location): Location => ({ ...location, exists: true }),
  resync: ({ ends, exists }: Location, id: EventId): Location => ({ ends: { ...ends, last: id }, exists })
}
export type Sabotage = keyof typeof SABOTAGE

/**
 * A log with an unreliable network: messages to followers get lost, arrive twice or late; commands are rejected, or
 * executed without an answer. Lost messages cause a resync later, as after a reconnect. The underlying log is real.
 */
export class FaultyLog implements TopicLog {
  faults: Faults = NO_FAULTS
  readonly #log: TopicLog
  readonly #random: Random
  readonly #followed = new Map<string, FaultyListener>()

  readonly #sabotage: Sabotage | undefined

  constructor (log: TopicLog, random: Random, sabotage?: Sabotage) {
    this.#log = log
    this.#random = random
    this.#sabotage = sabotage
  }

  /** The network works again, and a resync is triggered for anything lost. */
  recover (): void {
    this.faults = NO_FAULTS
    for (const listener of this.#followed.values()) listener.recover()
  }

  start (logger: LogLogger): Promise<void> { return this.#log.start(logger) }
  stop (): Promise<void> { return this.#log.stop() }
  close (topic: string): Promise<void> { return this.#log.close(topic) }
  lease (topic: string, request: LeaseRequest): Promise<LeaseReply> { return this.#log.lease(topic, request) }
  delete (...args: Parameters<TopicLog['delete']>): Promise<boolean> { return this.#log.delete(...args) }

  async append (...args: Parameters<TopicLog['append']>): Promise<Appended> {
    this.#refuseSometimes()
    const result = await this.#log.append(...args)
    if (this.#random.chance(this.faults.unanswered)) throw new errors.TOPICS_LOG_UNAVAILABLE('no answer')
    return result
  }

  async read (...args: Parameters<TopicLog['read']>): Promise<LogEntry[]> {
    this.#refuseSometimes()
    return this.#log.read(...args)
  }

  async locate (...args: Parameters<TopicLog['locate']>): Promise<Location> {
    this.#refuseSometimes()
    const location = await this.#log.locate(...args)
    return this.#sabotage === undefined ? location : SABOTAGE[this.#sabotage](location, args[1])
  }

  async seek (...args: Parameters<TopicLog['seek']>): Promise<EventId> {
    this.#refuseSometimes()
    return this.#log.seek(...args)
  }

  async follow (topic: string, listener: TopicListener): Promise<TopicEnds> {
    this.#refuseSometimes()
    const faulty = new FaultyListener(listener, this.#random, () => this.faults)
    this.#followed.set(topic, faulty)
    return this.#log.follow(topic, faulty)
  }

  async unfollow (topic: string, listener: TopicListener): Promise<void> {
    const faulty = this.#followed.get(topic)
    if (faulty?.listener !== listener) return
    this.#followed.delete(topic)
    await this.#log.unfollow(topic, faulty)
  }

  #refuseSometimes (): void {
    if (this.#random.chance(this.faults.refused)) throw new errors.TOPICS_LOG_UNAVAILABLE('refused')
  }
}

class FaultyListener implements TopicListener {
  readonly listener: TopicListener
  readonly #random: Random
  readonly #faults: () => Faults
  #held: LogEntry[][] = []
  #isBehind = false

  constructor (listener: TopicListener, random: Random, faults: () => Faults) {
    this.listener = listener
    this.#random = random
    this.#faults = faults
  }

  onEntries (entries: readonly LogEntry[]): void {
    const { dropped, repeated, held } = this.#faults()
    if (this.#random.chance(dropped)) {
      this.#isBehind = true
      return
    }
    if (this.#random.chance(held)) {
      this.#held.push([...entries])
      return
    }
    this.listener.onEntries(entries)
    if (this.#random.chance(repeated)) this.listener.onEntries(entries)
    if (this.#random.chance(repeated)) for (const late of this.#held.splice(0)) this.listener.onEntries(late)
  }

  onClosed (): void {
    if (this.#random.chance(this.#faults().dropped)) this.#isBehind = true
    else this.listener.onClosed()
  }

  onStop (fence: number): void { this.listener.onStop(fence) }
  onResync (): void { this.listener.onResync() }

  recover (): void {
    for (const late of this.#held.splice(0)) this.listener.onEntries(late)
    if (this.#isBehind) this.listener.onResync()
    this.#isBehind = false
  }
}
