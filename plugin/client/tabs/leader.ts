import { Connector } from '../connector.ts'
import type { ConnectorListener } from '../connector.ts'
import { tagOf } from '../cursor.ts'
import type { ErrorDetail, Published } from '../events.ts'
import type { SubscribeOptions } from '../options.ts'
import type { Transport } from '../transport.ts'
import { compare, formatCursor, parseId, readPositions } from './position.ts'
import type { Position } from './position.ts'
import type { LeaderMessage, TabMessage } from './protocol.ts'

type Join = TabMessage & { kind: 'join' }

/**
 * The tab that has the connection. It subscribes to the topics of all members, from the earliest of their positions,
 * and passes on what comes. Members drop what they have already seen.
 */
export class Leader {
  readonly #options: SubscribeOptions<never>
  readonly #transport: Transport
  readonly #send: (message: LeaderMessage) => void
  readonly #members = new Map<string, readonly string[]>()
  /** Members that the stream has not been open with yet: when the server rejects it, it is for them. */
  readonly #unproven = new Set<string>()
  /** Where the stream is, by topic. */
  readonly #positions = new Map<string, Position>()
  readonly #tags = new Map<string, string>()
  /** One change of the stream after the other. */
  #changing: Promise<void> = Promise.resolve()
  #connector: Connector | undefined
  #isStopped = false

  constructor (options: SubscribeOptions<never>, transport: Transport, send: (message: LeaderMessage) => void) {
    this.#options = options
    this.#transport = transport
    this.#send = send
  }

  /** Admits members; the stream begins again when they want more than it has. */
  join (...joins: readonly Join[]): void {
    this.#changing = this.#changing.then(async () => {
      await this.#learnTags(joins.flatMap(({ topics }) => topics))
      if (!this.#isStopped) this.#admit(joins)
    })
  }

  /** Its topics stay until the stream begins again for another reason. */
  leave (member: string): void {
    this.#members.delete(member)
    this.#unproven.delete(member)
  }

  stop (): void {
    this.#isStopped = true
    this.#connector?.close()
  }

  #admit (joins: readonly Join[]): void {
    for (const { member, topics } of joins) {
      this.#members.set(member, topics)
      this.#unproven.add(member)
    }
    const isMore = joins.map(join => this.#wantsMore(join)).includes(true)
    if (isMore) this.#restart()
    // While it is not open, `open` is still to come.
    else if (this.#connector?.state === 'open') this.#opened(joins.map(({ member }) => member))
  }

  async #learnTags (topics: readonly string[]): Promise<void> {
    for (const topic of topics) if (!this.#tags.has(topic)) this.#tags.set(topic, await tagOf(topic) ?? '')
  }

  /** True when there is a topic that the stream has not, or from an earlier place. That place becomes the stream's. */
  #wantsMore ({ topics, positions }: Join): boolean {
    let isMore = false
    for (const topic of topics) {
      const wanted = positions.get(topic)
      const position = this.#positions.get(topic)
      if (!this.#connector?.topics.includes(topic)) isMore = true
      if (!wanted || (position && compare(wanted, position) >= 0)) continue
      this.#positions.set(topic, wanted)
      isMore = true
    }
    return isMore
  }

  #restart (): void {
    const topics = [...new Set([...this.#members.values()].flat())].sort()
    for (const topic of this.#positions.keys()) if (!topics.includes(topic)) this.#positions.delete(topic)
    const cursor = formatCursor(topics, this.#positions, this.#tags)
    if (this.#connector && this.#connector.state !== 'closed') this.#connector.restart(topics, cursor)
    else {
      this.#connector = new Connector(
        { ...this.#options, topics, envelope: true },
        this.#transport,
        cursor,
        this.#listener()
      )
    }
  }

  #listener (): ConnectorListener {
    const send = this.#send
    return {
      opened: () => {
        this.#learnPositions()
        this.#unproven.clear()
        this.#opened([...this.#members.keys()])
      },
      moved: () => this.#learnPositions(),
      published: event => this.#publish(event),
      gap: detail => send({ kind: 'gap', detail }),
      ended: ({ topic, reason }) =>
        send(
          topic === undefined
            ? { kind: 'finished', members: [...this.#members.keys()] }
            : { kind: 'end', topic, reason }
        ),
      expiring: detail => send({ kind: 'expiring', detail }),
      failed: detail => this.#fail(detail),
      changed: state => { if (state !== 'open') send({ kind: 'interrupted' }) },
      ready: () => undefined
    }
  }

  #opened (members: readonly string[]): void {
    this.#send({ kind: 'open', positions: this.#positions, members })
  }

  /**
   * A stream that was rejected because of the newest members goes on without them. `cause` may be something that cannot
   * be cloned.
   */
  #fail ({ cause, ...detail }: ErrorDetail): void {
    const newest = this.#unproven.size
    const isOfNewest = !detail.willRetry && newest > 0 && newest < this.#members.size
    if (!isOfNewest) return this.#send({ kind: 'failed', detail })
    const members = [...this.#unproven]
    this.#unproven.clear()
    for (const member of members) this.#members.delete(member)
    this.#send({ kind: 'failed', detail, members })
    // The connector closes after this call.
    this.#changing = this.#changing.then(() => { if (!this.#isStopped) this.#restart() })
  }

  #publish (event: Published): void {
    if (event.topic === undefined) return this.#giveUp()
    const position = parseId(event.id)
    if (position) this.#positions.set(event.topic, position)
    this.#send({ kind: 'published', event, position })
  }

  /** Whose event it is cannot be known. */
  #giveUp (): void {
    this.#connector!.close()
    this.#send({
      kind: 'failed',
      detail: { message: 'shareAcrossTabs needs a server that answers envelope=true', willRetry: false }
    })
  }

  /** The cursor says where each topic is, those without an event yet included. */
  #learnPositions (): void {
    const { cursor, topics } = this.#connector!
    for (const [topic, position] of readPositions(cursor, topics)) this.#positions.set(topic, position)
  }
}
