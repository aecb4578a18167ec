import { Connector } from '../connection/connector.ts'
import type { ConnectorListener } from '../connection/connector-listener.ts'
import { tagOf } from '../cursor.ts'
import type { ErrorDetail, GapDetail, Published, SubscriptionState } from '../events.ts'
import type { SubscribeOptions } from '../options.ts'
import type { Transport } from '../connection/transport.ts'
import { compare, formatCursor, parseId, readPositions } from './position.ts'
import type { Position } from './position.ts'
import type { LeaderMessage, TabMessage } from './protocol.ts'

type Join = TabMessage & { kind: 'join' }

/**
 * The tab that has the connection. It subscribes to the topics of all members, from the earliest of their positions,
 * and forwards all events. Members drop those they have already seen.
 */
export class Leader {
  readonly #options: SubscribeOptions<never>
  readonly #transport: Transport
  readonly #send: (message: LeaderMessage) => void
  readonly #members = new Map<string, readonly string[]>()
  /** Members that joined since the stream was last open: if the server rejects the stream, one of them is the cause. */
  readonly #unproven = new Map<string, Join>()
  /** Members that were rejected together with another one: they are admitted one at a time. */
  #waiting: Join[] = []
  /** The position of the stream in each topic. */
  readonly #positions = new Map<string, Position>()
  /**
   * Topics that the stream reads from the position of a member, or again from its own after a pause: a member
   * that starts now may receive older events of them.
   */
  readonly #repeated = new Set<string>()
  readonly #tags = new Map<string, string>()
  /** Gaps that are not sent yet: where the stream continues is known when its cursor moves. */
  #gaps: GapDetail[] = []
  /** Changes of the stream run one after another. */
  #changing: Promise<void> = Promise.resolve()
  #connector: Connector | undefined
  /** The topics of all members when the stream was last started. */
  #requested: readonly string[] = []
  /** True while the stream is open and contains the topics of all members. */
  #isOpen = false
  #isStopped = false

  constructor (options: SubscribeOptions<never>, transport: Transport, send: (message: LeaderMessage) => void) {
    this.#options = options
    this.#transport = transport
    this.#send = send
  }

  /** Admits members; the stream starts again if they need more than it contains. */
  join (...joins: readonly Join[]): void {
    this.#changing = this.#changing.then(async () => {
      await this.#learnTags(joins.flatMap(({ topics }) => topics))
      if (!this.#isStopped) this.#admit(joins)
    })
  }

  /** The topics of the member stay until the stream starts again for another reason. */
  leave (member: string): void {
    // In order: it may have left before it was admitted.
    this.#changing = this.#changing.then(() => {
      this.#members.delete(member)
      this.#unproven.delete(member)
      this.#waiting = this.#waiting.filter(join => join.member !== member)
      if (this.#members.size === 0) this.#admitNext()
    })
  }

  stop (): void {
    this.#isStopped = true
    this.#connector?.close()
  }

  #admit (joins: readonly Join[]): void {
    for (const join of joins) {
      this.#members.set(join.member, join.topics)
      this.#unproven.set(join.member, join)
    }
    const isMore = joins.map(join => this.#wantsMore(join)).includes(true)
    if (isMore) this.#restart()
    // If the stream is not open yet, its `open` is sent later.
    else if (this.#isOpen) this.#opened(joins.map(({ member }) => member))
  }

  async #learnTags (topics: readonly string[]): Promise<void> {
    for (const topic of topics) if (!this.#tags.has(topic)) this.#tags.set(topic, await tagOf(topic) ?? '')
  }

  /**
   * True if a topic is not in the stream, or is wanted from an earlier position, which then becomes the stream's. Also
   * if a topic has ended: only a new stream shows whether it was deleted, and thereby reopened, since then.
   */
  #wantsMore ({ topics, positions }: Join): boolean {
    let isMore = this.#connector?.state === 'closed' || this.#connector?.hasFinished(topics) === true
    for (const topic of topics) {
      const wanted = positions.get(topic)
      const position = this.#positions.get(topic)
      if (!this.#connector?.topics.includes(topic)) isMore = true
      if (!wanted || (position && compare(wanted, position) >= 0)) continue
      this.#positions.set(topic, wanted)
      this.#repeated.add(topic)
      isMore = true
    }
    return isMore
  }

  get #topics (): readonly string[] { return [...new Set([...this.#members.values()].flat())].sort() }

  #restart (): void {
    this.#isOpen = false
    const topics = this.#requested = this.#topics
    for (const known of [this.#positions, this.#repeated]) {
      for (const topic of known.keys()) if (!topics.includes(topic)) known.delete(topic)
    }
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
        this.#isOpen = true
        this.#gaps = []
        this.#learnPositions()
        this.#unproven.clear()
        this.#opened([...this.#members.keys()])
      },
      moved: () => { this.#learnPositions(); this.#sendGaps() },
      published: event => { this.#sendGaps(); this.#publish(event) },
      gap: detail => { this.#gaps.push(detail) },
      ended: ({ topic, reason }) =>
        send(
          topic === undefined
            ? { kind: 'finished', members: [...this.#members.keys()] }
            : { kind: 'end', topic, reason }
        ),
      expiring: detail => send({ kind: 'expiring', detail }),
      failed: detail => this.#fail(detail),
      changed: state => this.#change(state),
      ready: () => undefined
    }
  }

  #change (state: SubscriptionState): void {
    if (state === 'waiting' || state === 'closed') for (const topic of this.#positions.keys()) this.#repeated.add(topic)
    if (state === 'open') return
    this.#isOpen = false
    this.#send({ kind: 'interrupted' })
  }

  /** The stream contains what these members want. */
  #opened (members: readonly string[]): void {
    // Unless a stream with others is about to be opened.
    if (this.#unproven.size === members.length) this.#unproven.clear()
    this.#send({ kind: 'open', positions: this.#positions, members, repeated: [...this.#repeated] })
    this.#admitNext()
  }

  #admitNext (): void {
    const next = this.#waiting.shift()
    if (next) this.join(next)
  }

  /** `cause` is not sent, because it may be impossible to clone. */
  #fail ({ cause, ...detail }: ErrorDetail): void {
    if (detail.willRetry) return this.#send({ kind: 'failed', detail })
    const topics = this.#topics
    // Otherwise, the cause may be a member that has left since then.
    if (this.#requested.every(topic => topics.includes(topic))) this.#blame(detail)
    // Runs later, because the connector closes after this call.
    this.#changing = this.#changing.then(() => this.#continue())
  }

  #blame (detail: Omit<ErrorDetail, 'cause'>): void {
    const isOfAll = this.#unproven.size === 0 || this.#members.size + this.#waiting.length === 1
    // Only to those: a tab that is about to join has not been rejected.
    if (isOfAll) return this.#reject([...this.#members.keys()], detail)
    const [newest, ...others] = [...this.#unproven.values()]
    for (const { member } of others) this.#members.delete(member)
    this.#waiting.push(...others)
    this.#unproven.clear()
    if (others.length > 0) this.#unproven.set(newest!.member, newest!)
    else this.#reject([newest!.member], detail)
  }

  /** The stream was rejected because of these members. */
  #reject (members: readonly string[], detail: Omit<ErrorDetail, 'cause'>): void {
    for (const member of members) this.#members.delete(member)
    this.#send({ kind: 'failed', detail, members })
  }

  #continue (): void {
    if (this.#isStopped) return
    if (this.#members.size > 0) this.#restart()
    else this.#admitNext()
  }

  #sendGaps (): void {
    for (const detail of this.#gaps.splice(0)) this.#send({ kind: 'gap', detail, positions: this.#positions })
  }

  #publish (event: Published): void {
    if (event.topic === undefined) return this.#giveUp()
    const position = parseId(event.id)
    if (position) this.#positions.set(event.topic, position)
    this.#send({ kind: 'published', event, position })
  }

  /** Without a topic it is unknown which members an event is for. */
  #giveUp (): void {
    this.#connector!.close()
    this.#send({
      kind: 'failed',
      detail: { message: 'shareAcrossTabs needs a server that answers envelope=true', willRetry: false }
    })
  }

  /** Reads the position of each topic from the cursor, including topics without an event so far. */
  #learnPositions (): void {
    const { cursor, topics } = this.#connector!
    for (const [topic, position] of readPositions(cursor, topics, this.#tags)) this.#positions.set(topic, position)
  }
}
