/** What a row shows: a published event, or what happened to the stream. */
export interface Item {
  /** Counts all items of the page, from 0. */
  readonly seq: number
  /** `event`: published; `gap`: events are missing; `notice`: opened, ended, lost, about to expire. */
  readonly kind: 'event' | 'gap' | 'notice'
  /** When the page got it, in Unix ms. */
  readonly atMs: number
  /** Empty where it is of no topic. */
  readonly topic: string
  /** The event's own id. */
  readonly id: string
  /** The event's name; for the rest a word for what it is. */
  readonly event: string
  readonly data: string
  /** The cursor after it. */
  readonly cursor: string
}

export type NewItem = Omit<Item, 'seq' | 'atMs'>

/** A notice or a gap without what only events have. */
export function noticeOf (kind: 'gap' | 'notice', event: string, data: string, topic = ''): NewItem {
  return { kind, topic, id: '', event, data, cursor: '' }
}
