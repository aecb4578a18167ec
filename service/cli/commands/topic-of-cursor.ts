/**
 * Finds the topic of each event of a stream by its cursor: with several topics a cursor contains the position of each,
 * in the order of their sorted names, joined by commas, and an event moves the position of its own topic.
 */
export class TopicOfCursor {
  readonly #topics: readonly string[]
  #before: readonly string[]

  /** The topics, sorted; `cursor` is where the stream begins, if known. */
  constructor (topics: readonly string[], cursor = '') {
    this.#topics = topics
    this.#before = cursor.split(',')
  }

  /** The topic whose position differs between this cursor and the previous one; `?` if that cannot be determined. */
  next (cursor: string): string {
    if (this.#topics.length === 1) return this.#topics[0]!
    const positions = cursor.split(',')
    const before = this.#before
    this.#before = positions
    const moved = positions.flatMap((position, at) => position === before[at] ? [] : [at])
    return moved.length === 1 && positions.length === this.#topics.length ? this.#topics[moved[0]!]! : '?'
  }
}
