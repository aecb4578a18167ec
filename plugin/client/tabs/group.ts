import { browser } from '../browser.ts'
import type { SubscribeOptions } from '../options.ts'
import type { ConnectionRequest, Outcome, Transport } from '../connection/transport.ts'
import { Leader } from './leader.ts'
import { LeaderWatch } from './leader-watch.ts'
import { Member } from './member.ts'
import type { Unclear } from './member.ts'
import { isTabMessage } from './protocol.ts'
import { askServer, startOf } from './start.ts'
import type { Attempt, Start } from './start.ts'
import type { LeaderMessage, TabMessage } from './protocol.ts'

/** How long a new leader waits for members that exist but do not answer, such as frozen tabs. */
const ANSWER_MS = 1_000

/**
 * A transport over the connection that all tabs of an origin share. The tab that holds the lock `<name>:leader` is the
 * leader and has the connection. Each subscription holds a lock of its own, so that the others notice when it is gone,
 * for whatever reason.
 */
export function tabTransport (options: SubscribeOptions<never>, transport: Transport): Transport {
  return async (request, sink, signal) => {
    const attempt = { request, options, transport, sink, signal }
    let start = await startOf(attempt)
    while (start.kind === 'start') {
      const outcome = await takePart(start, attempt)
      if (outcome.kind !== 'unclear') return outcome
      start = await askServer(attempt)
    }
    return start
  }
}

/** Takes part in the shared connection from this start until the end of the member. */
async function takePart (start: Start, attempt: Attempt): Promise<Outcome | Unclear> {
  const { request, options, transport, sink, signal } = attempt
  let link: TabLink | undefined
  const outcome = await new Promise<Outcome | Unclear>((resolve, reject) => {
    Member.create(crypto.randomUUID(), request, start, sink, resolve).then(member => {
      const end = (): void => { link?.close(); resolve({ kind: 'ended' }) }
      if (signal.aborted) return end()
      signal.addEventListener('abort', end, { once: true })
      link = new TabLink(nameOf(request), member, options, transport)
      link.start()
    }).catch(reject)
  })
  link?.close()
  return outcome
}

/** Subscriptions to the same URL with the same cookies share a connection, whatever their topics. */
function nameOf ({ url, withCredentials }: ConnectionRequest): string {
  const address = new URL(url)
  for (const parameter of ['topic', 'envelope']) address.searchParams.delete(parameter)
  return `resumable-sse:${withCredentials}:${address.href}`
}

/** Connects one member to the others: the channel, the locks, and the leader if this tab has become it. */
class TabLink {
  readonly #name: string
  readonly #member: Member
  readonly #options: SubscribeOptions<never>
  readonly #transport: Transport
  readonly #channel: InstanceType<typeof BroadcastChannel>
  readonly #closing = new AbortController()
  readonly #locks = browser.navigator!.locks!
  readonly #watch: LeaderWatch
  #leader: Leader | undefined
  /** The leader, as far as this tab knows. */
  #leaderId: string | undefined
  /** Members that joined before this leader started. */
  #early: Map<string, TabMessage & { kind: 'join' }> | undefined
  /** Called when another one of them has joined. */
  #onEarly = (): void => {}

  constructor (name: string, member: Member, options: SubscribeOptions<never>, transport: Transport) {
    this.#name = name
    this.#member = member
    this.#options = options
    this.#transport = transport
    this.#watch = new LeaderWatch(() => this.#ask(), () => this.#takeOver(), options.stallTimeoutMs)
    this.#channel = new BroadcastChannel(name)
    this.#channel.onmessage = event => {
      const { data } = event as { data: unknown }
      if (isTabMessage(data)) this.#receive(data)
    }
  }

  /** Joins the current leader, and queues to become the next one. */
  start (): void {
    this.#hold(this.#lockOf(this.#member.id), () => {
      this.#post(this.#member.join)
      this.#queueForLead()
    }, () => this.#beAlone())
  }

  /** The browser denies locks to this page, for example in a sandboxed iframe: it has its own connection. */
  #beAlone (): void {
    this.#leaderId = this.#member.id
    this.#leader = new Leader(this.#options, this.#transport, message => this.#member.receive(message))
    this.#leader.join(this.#member.join)
  }

  close (): void {
    if (this.#closing.signal.aborted) return
    this.#post({ kind: 'leave', member: this.#member.id })
    this.#closing.abort()
    this.#watch.stop()
    this.#leader?.stop()
    this.#channel.close()
  }

  #lockOf (member: string): string {
    return `${this.#name}:member:${member}`
  }

  #post (message: TabMessage): void {
    this.#channel.postMessage(message)
  }

  /** Holds a lock from the time it is granted until the end, or until another tab takes it. */
  #hold (name: string, onGranted: () => void, onTaken?: () => void): void {
    const { signal } = this.#closing
    const untilClosed = (): Promise<void> => this.#untilClosed(onGranted)
    this.#locks.request(name, { signal }, untilClosed).catch(() => { if (!signal.aborted) onTaken?.() })
  }

  async #untilClosed (onGranted: () => void): Promise<void> {
    const { signal } = this.#closing
    if (signal.aborted) return
    await new Promise<void>(resolve => {
      signal.addEventListener('abort', () => resolve(), { once: true })
      onGranted()
    })
  }

  get #leaderLock (): string { return `${this.#name}:leader` }

  #queueForLead (): void {
    this.#hold(this.#leaderLock, () => { void this.#lead() }, () => {
      this.#stopLeading()
      this.#queueForLead()
    })
  }

  get #isLeading (): boolean { return this.#leaderId === this.#member.id }

  #ask (): void {
    if (this.#isLeading) this.#watch.heard()
    else this.#post({ kind: 'ask' })
  }

  /** The leader does not answer: its lock is taken from it. The request that queues for the lock stays in the queue. */
  #takeOver (): void {
    const untilClosed = (): Promise<void> => this.#untilClosed(() => { void this.#lead() })
    this.#locks.request(this.#leaderLock, { steal: true }, untilClosed).catch(() => this.#stopLeading())
  }

  /** Another tab has taken over, because this one was suspended: it becomes a member like any other. */
  #stopLeading (): void {
    if (!this.#isLeading || this.#closing.signal.aborted) return
    this.#leader?.stop()
    this.#leader = this.#early = this.#leaderId = undefined
    this.#member.detach()
    this.#post(this.#member.join)
  }

  async #lead (): Promise<void> {
    this.#member.detach()
    this.#leaderId = this.#member.id
    this.#early = new Map([[this.#member.id, this.#member.join]])
    this.#post({ kind: 'lead', leader: this.#member.id })
    await this.#everybodyJoined()
    const early = this.#early
    if (this.#closing.signal.aborted || early === undefined) return
    this.#early = undefined
    this.#leader = new Leader(this.#options, this.#transport, message => this.#send(message))
    this.#leader.join(...early.values())
    for (const member of early.keys()) this.#watchMember(member)
  }

  /** Settles when all existing members have joined, or after a time limit. */
  async #everybodyJoined (): Promise<void> {
    const { held = [] } = await this.#locks.query()
    const prefix = this.#lockOf('')
    const alive = held.flatMap(({ name = '' }) => name.startsWith(prefix) ? [name.slice(prefix.length)] : [])
    await new Promise<void>(resolve => {
      const timer = setTimeout(resolve, ANSWER_MS)
      this.#onEarly = () => {
        if (!alive.every(member => this.#early?.has(member))) return
        clearTimeout(timer)
        resolve()
      }
      this.#onEarly()
    })
  }

  /** Its lock is granted to this tab when the member is gone. */
  #watchMember (member: string): void {
    if (member === this.#member.id) return
    const { signal } = this.#closing
    this.#locks.request(this.#lockOf(member), { signal }, async () => this.#leader?.leave(member)).catch(() => {})
  }

  #send (message: LeaderMessage): void {
    this.#channel.postMessage({ ...message, leader: this.#member.id })
    this.#member.receive(message)
  }

  #receive (message: TabMessage): void {
    if (message.kind === 'lead') this.#follow(message.leader)
    else if (message.kind === 'join') this.#admit(message)
    else if (message.kind === 'leave') this.#forget(message.member)
    else if (message.kind === 'ask') this.#answer()
    else this.#obey(message)
  }

  #obey (message: LeaderMessage & { leader: string }): void {
    this.#leaderId ??= message.leader
    if (message.leader !== this.#leaderId) return
    this.#watch.heard()
    this.#member.receive(message)
  }

  #answer (): void {
    if (this.#isLeading) this.#send({ kind: 'alive' })
  }

  /**
   * A tab that holds the lock is the leader, even if the announcement of an earlier leader arrives late. If the lock is
   * taken from it, its request for the lock rejects.
   */
  #follow (leader: string): void {
    if (this.#isLeading) return
    this.#watch.heard()
    this.#leaderId = leader
    this.#member.detach()
    this.#post(this.#member.join)
  }

  /**
   * The announcement of a leader may arrive after that of its successor, so that this tab follows the one that has
   * gone: when its `leave` arrives, this tab joins again.
   */
  #forget (member: string): void {
    this.#leader?.leave(member)
    if (member !== this.#leaderId) return
    this.#leaderId = undefined
    this.#member.detach()
    this.#post(this.#member.join)
  }

  #admit (join: TabMessage & { kind: 'join' }): void {
    this.#early?.set(join.member, join)
    this.#onEarly()
    if (!this.#leader) return
    this.#leader.join(join)
    this.#watchMember(join.member)
  }
}
