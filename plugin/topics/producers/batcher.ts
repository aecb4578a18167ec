/** How items are gathered into batches. */
export interface BatchLimits {
  /** Maximum number of items in one batch. */
  batchEvents: number
  /** How long the first item of a batch waits for others, in ms. */
  batchMs: number
}

/** A batch of at least this many bytes does not wait for more. */
const MAX_BATCH_BYTES = 1024 * 1024

/**
 * Collects items and passes them on in batches, one at a time. While a batch is being written the next one fills; when
 * that one is full too, `add` waits, so a source is never more than two batches ahead of the log.
 */
export class Batcher<T extends { readonly bytes: number }> {
  readonly #limits: BatchLimits
  readonly #write: (batch: readonly T[]) => Promise<void>
  #items: T[] = []
  #bytes = 0
  #timer: NodeJS.Timeout | undefined
  #isDue = false
  #writing: Promise<void> | undefined
  #failure: { error: unknown } | undefined

  /** If `write` rejects, all later calls do, too. */
  constructor (limits: BatchLimits, write: (batch: readonly T[]) => Promise<void>) {
    this.#limits = limits
    this.#write = write
  }

  /** Settles when there is room for the next item. */
  async add (item: T): Promise<void> {
    this.#throwFailure()
    this.#items.push(item)
    this.#bytes += item.bytes
    if (!this.#isFull) {
      this.#timer ??= setTimeout(() => { this.#due() }, this.#limits.batchMs)
      return
    }
    await this.#writing
    this.#throwFailure()
    if (this.#isFull) this.#begin()
  }

  /** Writes the remaining items; settles when everything is written. */
  async flush (): Promise<void> {
    while (this.#writing || this.#items.length > 0) {
      if (!this.#writing) this.#begin()
      await this.#writing
      this.#throwFailure()
    }
    this.#throwFailure()
  }

  get #isFull (): boolean {
    return this.#items.length >= this.#limits.batchEvents || this.#bytes >= MAX_BATCH_BYTES
  }

  #due (): void {
    if (this.#writing) this.#isDue = true
    else this.#begin()
  }

  #begin (): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#isDue = false
    const batch = this.#items
    this.#items = []
    this.#bytes = 0
    this.#writing = this.#write(batch).then(() => { this.#written() }, (error: unknown) => { this.#failed(error) })
  }

  #written (): void {
    this.#writing = undefined
    if (this.#isDue && this.#items.length > 0) this.#begin()
  }

  #failed (error: unknown): void {
    clearTimeout(this.#timer)
    this.#writing = undefined
    this.#items = []
    this.#failure = { error }
  }

  #throwFailure (): void {
    if (this.#failure) throw this.#failure.error
  }
}
