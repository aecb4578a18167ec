/**
 * Finds the topic of each event of a stream by its cursor: over several topics that is the position of each in the
 * order of their sorted names, joined by commas, and an event moves the one of its own topic.
 */
export class TopicOfCursor {
  readonly #topics: readonly string[]
  #before: readonly string[]

  /** The topics, sorted; `cursor` is where the stream begins, where that is known. */
  constructor (topics: readonly string[], cursor = '') {
    this.#topics = topics
    this.#before = cursor.split(',')
  }

  /** The topic whose position is another one in this cursor than in the last one; `?` where that cannot be known. */
  next (cursor: string): string {
    if (this.#topics.length === 1) return this.#topics[0]!
    const positions = cursor.split(',')
    const before = this.#before
    this.#before = positions
    const moved = positions.flatMap((position, at) => position === before[at] ? [] : [at])
    return moved.length === 1 && positions.length === this.#topics.length ? this.#topics[moved[0]!]! : '?'
  }
}
