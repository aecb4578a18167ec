/**
 * The topics that the streams of each owner follow, with the number of streams for each topic. Owners without topics
 * are not kept. The cost of each call depends on the topics of one stream, however many the owner has.
 */
export class OwnedTopics {
  readonly #byOwner = new Map<string, Map<string, number>>()

  /** A stream of the owner follows these topics, which contain no duplicates. */
  add (owner: string, topics: readonly string[]): void {
    const counts = this.#byOwner.get(owner) ?? new Map<string, number>()
    for (const topic of topics) counts.set(topic, (counts.get(topic) ?? 0) + 1)
    this.#byOwner.set(owner, counts)
  }

  /** The stream no longer follows them. */
  delete (owner: string, topics: readonly string[]): void {
    const counts = this.#byOwner.get(owner)
    if (counts === undefined) return
    for (const topic of topics) {
      const count = counts.get(topic)! - 1
      if (count > 0) counts.set(topic, count)
      else counts.delete(topic)
    }
    if (counts.size === 0) this.#byOwner.delete(owner)
  }

  /** The number of different topics with those of one more stream, and without those of another. */
  countWith (owner: string, topics: readonly string[], without: readonly string[] = []): number {
    const counts = this.#byOwner.get(owner) ?? new Map<string, number>()
    const gone = new Set(without.filter(topic => counts.get(topic) === 1))
    const added = topics.filter(topic => !counts.has(topic) || gone.has(topic))
    return counts.size - gone.size + added.length
  }
}
