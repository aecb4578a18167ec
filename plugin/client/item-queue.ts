/** Items that may wait for the loop that reads them, before the connection is read no further. */
const HIGH_WATER_MARK = 256

interface Reader<Item> {
  resolve (result: IteratorResult<Item, undefined>): void
  reject (error: Error): void
}

/** Between a subscription and one `for await` loop over it. */
export class ItemQueue<Item> implements AsyncIterator<Item, undefined> {
  readonly #items: Item[] = []
  readonly #onReturn: () => void
  #reader: Reader<Item> | undefined
  #drained: PromiseWithResolve | undefined
  #isOver = false
  #error: Error | undefined

  /** `onReturn` is called when the loop is left. */
  constructor (onReturn: () => void) {
    this.#onReturn = onReturn
  }

  push (item: Item): void {
    if (this.#isOver) return
    if (this.#reader) this.#answer(reader => reader.resolve({ done: false, value: item }))
    else this.#items.push(item)
  }

  /** Nothing follows. With an error the loop throws it, after the items that wait. */
  end (error?: Error): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#error = error
    this.#drained?.resolve()
    this.#answer(reader => this.#settle(reader))
  }

  /** Settles when the loop has caught up; undefined while it is not behind. */
  ready (): Promise<void> | undefined {
    if (this.#isOver || this.#items.length < HIGH_WATER_MARK) return undefined
    this.#drained ??= withResolve()
    return this.#drained.promise
  }

  next (): Promise<IteratorResult<Item, undefined>> {
    return new Promise((resolve, reject) => {
      if (this.#items.length > 0) resolve({ done: false, value: this.#shift() })
      else if (this.#isOver) this.#settle({ resolve, reject })
      else this.#reader = { resolve, reject }
    })
  }

  return (): Promise<IteratorResult<Item, undefined>> {
    this.#items.length = 0
    this.end()
    this.#onReturn()
    return Promise.resolve({ done: true, value: undefined })
  }

  #shift (): Item {
    const item = this.#items.shift()!
    if (this.#items.length > 0) return item
    this.#drained?.resolve()
    this.#drained = undefined
    return item
  }

  #answer (act: (reader: Reader<Item>) => void): void {
    const reader = this.#reader
    this.#reader = undefined
    if (reader) act(reader)
  }

  #settle ({ resolve, reject }: Reader<Item>): void {
    const error = this.#error
    this.#error = undefined
    if (error) reject(error)
    else resolve({ done: true, value: undefined })
  }
}

interface PromiseWithResolve { readonly promise: Promise<void>, readonly resolve: () => void }

function withResolve (): PromiseWithResolve {
  let settle = (): void => {}
  const promise = new Promise<void>(resolve => { settle = resolve })
  return { promise, resolve: () => settle() }
}
