/** Maximum number of items that wait for the loop before the connection is no longer read. */
const HIGH_WATER_MARK = 256

/** A queue between a subscription and one `for await` loop over it. */
export class ItemQueue<Item extends object> implements AsyncIterator<Item, undefined> {
  readonly #items: Item[] = []
  readonly #onReturn: () => void
  /** Callbacks that wait for a change: readers for an item, the connection for room. */
  #waiting: (() => void)[] = []
  #isOver = false
  #error: Error | undefined

  /** `onReturn` is called when the loop is left early. */
  constructor (onReturn: () => void) {
    this.#onReturn = onReturn
  }

  push (item: Item): void {
    this.#items.push(item)
    this.#wake()
  }

  /** Ends the queue. The loop first yields the waiting items, then throws the error, if there is one. */
  end (error?: Error): void {
    if (!this.#isOver) this.#error = error
    this.#isOver = true
    this.#wake()
  }

  get hasRoom (): boolean {
    return this.#isOver || this.#items.length < HIGH_WATER_MARK
  }

  /** Settles when the loop has caught up. */
  async ready (): Promise<void> {
    while (!this.#isOver && this.#items.length > 0) await this.#change()
  }

  async next (): Promise<IteratorResult<Item, undefined>> {
    while (this.#items.length === 0 && !this.#isOver) await this.#change()
    const value = this.#items.shift()
    this.#wake()
    if (value) return { done: false, value }
    const error = this.#error
    this.#error = undefined
    if (error) throw error
    return { done: true, value: undefined }
  }

  async return (): Promise<IteratorResult<Item, undefined>> {
    this.#items.length = 0
    this.end()
    this.#onReturn()
    return { done: true, value: undefined }
  }

  #change (): Promise<void> {
    return new Promise(resolve => this.#waiting.push(resolve))
  }

  #wake (): void {
    for (const resolve of this.#waiting.splice(0)) resolve()
  }
}
