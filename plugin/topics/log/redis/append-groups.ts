/** The arguments of the script for events: the name, data and reconnection time of each. */
export type EventArgs = readonly string[]

const ARGS_PER_EVENT = 3
/**
 * Maximum UTF-16 units of a group: encoded, they are at most the 64 KiB up to which the script sends entries along with
 * its notification.
 */
const MAX_LENGTH = Math.floor(64 * 1024 / 3)
/** Stands for the line before an event in that notification, so that a group of empty events has an end, too. */
const HEAD_LENGTH = 5

/** The result for a publisher of a group: the reply for the whole group, and the number of events before its own. */
export interface GroupReply<R> { reply: R, before: number }

interface Group<R> { args: string[], length: number, replied: Promise<R>, send: () => void }

/**
 * Groups appends to one topic in the same tick of the event loop, so that they go to Redis in one call of the script:
 * most of the cost of an append, there and in this process, is the cost of a call. The events of each publisher stay
 * together, in the order of the appends. The script appends all of a group or nothing, for reasons that concern the
 * topic and therefore each of its publishers.
 */
export class AppendGroups<R> {
  readonly #append: (topic: string, args: EventArgs) => Promise<R>
  readonly #groups = new Map<string, Group<R>>()

  constructor (append: (topic: string, args: EventArgs) => Promise<R>) {
    this.#append = append
  }

  /** Rejects with the error of the group's append. */
  async add (topic: string, args: EventArgs): Promise<GroupReply<R>> {
    const heads = args.length / ARGS_PER_EVENT * HEAD_LENGTH
    const length = args.reduce((sum, arg) => sum + arg.length, heads)
    if ((this.#groups.get(topic)?.length ?? 0) + length > MAX_LENGTH) this.flush(topic)
    const group = this.#groups.get(topic) ?? this.#begin(topic)
    const before = group.args.length / ARGS_PER_EVENT
    for (const arg of args) group.args.push(arg)
    group.length += length
    return { reply: await group.replied, before }
  }

  /** Sends the appends that wait for this topic now, so that a command sent afterwards follows them. */
  flush (topic: string): void {
    this.#groups.get(topic)?.send()
  }

  #begin (topic: string): Group<R> {
    let resolve!: (reply: Promise<R>) => void
    const group: Group<R> = {
      args: [],
      length: 0,
      replied: new Promise(_resolve => { resolve = _resolve }),
      send: () => {
        clearImmediate(timer)
        this.#groups.delete(topic)
        resolve(this.#append(topic, group.args))
      }
    }
    const timer = setImmediate(group.send)
    this.#groups.set(topic, group)
    return group
  }
}
