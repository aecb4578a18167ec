import { compareEventIds, formatEventId } from '../../../../plugin/topics/ids/event-id.ts'
import type { LeaseReply } from '../../../../plugin/topics/log/lease.ts'
import type { LogEntry, TopicEnds } from '../../../../plugin/topics/log/topic-log.ts'
import { Journal } from '../journal.ts'
import type { NodeSaid, ProduceOrder, WriterEnd } from './producer-node.ts'

/** The state of one writer: one call of `produce()`. */
interface Writer {
  readonly producerId: string
  /** Events of the producer that the log has acknowledged to it. */
  accepted: number
  end: WriterEnd | undefined
  /** When its process continued after a pause that was longer than the lease, in Unix ms. */
  resumedAt: number
}

/** The topic after the round. */
export interface Outcome { entries: readonly LogEntry[], ends: TopicEnds, look: LeaseReply }

interface Written { id: LogEntry['id'], producerId: string, at: number, lease: number, writer: string }

/** Reasons with which a producer reports that its lease closed the topic; the others leave the topic open. */
const CLOSING = new Set(['done', 'failed', 'stopped', 'lost', 'closed'])

/** Everything observed in one round on one topic, and the guarantees that are checked against it. */
export class ProducerRecord {
  readonly topic: string
  readonly journal: Journal
  readonly writers = new Map<string, Writer>()
  /** Why the topic ended, as reported to the reader. */
  told: string | undefined
  /** Problems that the watch of a lease reported. */
  readonly problems: string[] = []
  /** Acknowledgements so far. */
  progress = 0
  /** A stop with the current lease, or without one, succeeded. */
  isStopped = false
  readonly #isLossy: boolean

  /** `isLossy` if a failover may lose acknowledged events. */
  constructor (topic: string, isLossy: boolean) {
    this.topic = topic
    this.journal = new Journal([topic])
    this.#isLossy = isLossy
  }

  begin ({ writer, producerId }: ProduceOrder): void {
    this.writers.set(writer, { producerId, accepted: 0, end: undefined, resumedAt: Infinity })
  }

  hear (said: NodeSaid): void {
    if (said.kind === 'late') this.problems.push(said.what)
    else if (said.kind === 'accepted') this.#accept(said.writer, said.accepted)
    else if (said.topic === this.topic) this.#read(said.received)
  }

  #accept (name: string, accepted: number): void {
    const writer = this.writers.get(name)
    if (!writer) return
    writer.accepted = accepted
    this.progress++
  }

  #read (received: Extract<NodeSaid, { kind: 'read' }>['received']): void {
    this.journal.receive(received)
    if (received.event === 'stream.end') this.told = (JSON.parse(received.data) as { reason: string }).reason
  }

  /** All problems, as text. */
  check (outcome: Outcome): string[] {
    const written = outcome.entries.map(entry => parse(entry))
    const truth = new Map(outcome.entries.map(({ id, data }) => [formatEventId(id), data]))
    return [
      ...this.problems,
      ...this.journal.check(new Map([[this.topic, outcome.ends]]), new Map([[this.topic, truth]])),
      ...neverInterleaved(written),
      ...this.#neverRepeatedOrMissing(written),
      ...this.#neverLost(written),
      ...this.#neverAfterAPause(written),
      ...this.#oneEnd(outcome.look)
    ]
  }

  /** Each event of a producer is stored once, in order; where numbers were skipped, some may be lost. */
  #neverRepeatedOrMissing (written: readonly Written[]): string[] {
    return written.flatMap((event, index) => {
      const before = written[index - 1]
      const isSame = before?.producerId === event.producerId
      if (event.at === (isSame ? before.at : 0) + 1) return []
      const isSkip = event.id.n !== (before?.id.n ?? 0) + 1
      if (this.#isLossy && isSkip && event.at > (isSame ? before.at : 0)) return []
      return [`event ${event.at} of ${event.producerId} by ${event.writer} comes after ${isSame ? before.at : 'none'}`]
    })
  }

  #neverLost (written: readonly Written[]): string[] {
    if (this.#isLossy) return []
    return [...this.writers].flatMap(([name, { producerId, accepted }]) => {
      const last = Math.max(0, ...written.filter(event => event.producerId === producerId).map(({ at }) => at))
      return accepted > last ? [`${accepted} events were acknowledged to ${name}, and the log has ${last}`] : []
    })
  }

  #neverAfterAPause (written: readonly Written[]): string[] {
    return written.flatMap(({ id, writer }) =>
      id.ms >= this.writers.get(writer)!.resumedAt ? [`${writer} appended after a pause longer than its lease`] : [])
  }

  /** The log, the reader and the producer that closed the topic agree on why it ended. */
  #oneEnd ({ isClosed, reason, fence }: LeaseReply): string[] {
    const problems = isClosed && reason === this.told
      ? []
      : [
      `the log says ${reason}, and the reader was told ${this.told}`
        ]
    const claims = [...this.writers.values()].flatMap(
      ({ end }) => end?.reason !== undefined && CLOSING.has(end.reason) ? [end] : []
    )
    for (const claim of this.#isLossy ? [] : claims) {
      if (claim.reason !== reason || claim.lease !== fence) {
        problems.push(`the log says ${reason} of the lease ${fence}, and the writer ${claim.reason} of ${claim.lease}`)
      }
    }
    if (reason === 'stopped' && !this.isStopped) problems.push('nobody stopped this producer, and it is stopped')
    return problems
  }
}

function parse ({ id, data }: LogEntry): Written {
  const [, producerId = '', at, lease, writer = ''] = data.split(' ')
  return { id, producerId, at: Number(at), lease: Number(lease), writer }
}

/**
 * Leases follow each other, and each has one writer: no event of an earlier one follows an event of a later one.
 */
function neverInterleaved (written: readonly Written[]): string[] {
  return written.slice(1).flatMap((event, index) => {
    const before = written[index]!
    const isInOrder = compareEventIds(before.id, event.id) < 0
    if (isInOrder && (event.writer === before.writer ? event.lease === before.lease : event.lease > before.lease)) {
      return []
    }
    return [`${event.writer} with the lease ${event.lease} writes after ${before.writer} with ${before.lease}`]
  })
}
