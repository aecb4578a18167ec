/** The content of a row: a published event, or a change of the stream. */
export interface Item {
  /** Sequence number among all items of the page, from 0. */
  readonly seq: number
  /** `event`: published; `gap`: events are missing; `notice`: opened, ended, lost, about to expire. */
  readonly kind: 'event' | 'gap' | 'notice'
  /** When the page received it, in Unix ms. */
  readonly atMs: number
  /** Empty if it belongs to no topic. */
  readonly topic: string
  /** The event's own id. */
  readonly id: string
  /** The event's name; for gaps and notices a word that describes them. */
  readonly event: string
  readonly data: string
  /** The cursor after it. */
  readonly cursor: string
}

export type NewItem = Omit<Item, 'seq' | 'atMs'>

/** Creates a notice or a gap, with empty values for the fields of events. */
export function noticeOf (kind: 'gap' | 'notice', event: string, data: string, topic = ''): NewItem {
  return { kind, topic, id: '', event, data, cursor: '' }
}
