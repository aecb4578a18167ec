import { formatPosition } from '../ids/cursor.ts'
import type { EventId } from '../ids/event-id.ts'
import type { EventFormat } from './frames.ts'
import type { Gap } from '../../common/in-band.ts'
import type { TopicEnd } from '../log/lease.ts'
import type { LogEntry } from '../log/topic-log.ts'

interface TopicItemInit {
  kind: TopicItem['kind']
  id: EventId
  topic: string
  tag: string
  content: LogEntry | Buffer
  end?: TopicEnd | undefined
  gap?: Gap | undefined
}

/**
 * One change in a topic. A topic that was closed and then deleted is open again: that is `reopened`, and has no body.
 * What is derived from an item is computed once and shared by all feeds.
 */
export class TopicItem {
  readonly kind: 'event' | 'gap' | 'end' | 'reopened'
  /** The position after it. */
  readonly id: EventId
  /** The same position as part of a cursor. */
  readonly position: string
  /** Why the topic ended; only for `end`. */
  readonly end: TopicEnd | undefined
  /** What is missing; only for `gap`. */
  readonly gap: Gap | undefined
  readonly #topic: string
  readonly #content: LogEntry | Buffer
  readonly #bodies = new Map<EventFormat, Buffer>()

  /** The content is a log entry for an event, and the body for anything else. */
  constructor ({ kind, id, topic, tag, content, end, gap }: TopicItemInit) {
    this.kind = kind
    this.id = id
    this.position = formatPosition(tag, id)
    this.end = end
    this.gap = gap
    this.#topic = topic
    this.#content = content
  }

  /** Its frame without the id line. */
  body (format: EventFormat): Buffer {
    if (Buffer.isBuffer(this.#content)) return this.#content
    const body = this.#bodies.get(format) ?? format.encode(this.#topic, this.#content)
    this.#bodies.set(format, body)
    return body
  }
}

/**
 * Receives everything that happens in a topic, in order and without omissions: whatever is missing is reported as a
 * gap.
 */
export type TopicSink = (item: TopicItem) => void
