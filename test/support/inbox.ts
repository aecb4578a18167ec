/** What a client has received so far, and a way to wait for more of it without polling. */
export class Inbox {
  text = ''
  bytes = 0
  isOver = false
  readonly #waiting = new Set<() => void>()
  readonly #decoder = new TextDecoder()

  add (chunk: Uint8Array): void {
    this.bytes += chunk.length
    this.text += this.#decoder.decode(chunk, { stream: true })
    for (const wake of this.#waiting) wake()
  }

  end (): void {
    this.isOver = true
    for (const wake of this.#waiting) wake()
  }

  /** Settles when `wanted` is in the text, or true of it. Rejects when the connection ends first. */
  async until (wanted: string | ((text: string) => boolean)): Promise<string> {
    const isThere = typeof wanted === 'string' ? () => this.text.includes(wanted) : () => wanted(this.text)
    await this.#when(() => isThere() || this.isOver)
    if (!isThere()) throw new Error(`the connection ended without ${String(wanted)}, after: ${this.text.slice(-300)}`)
    return this.text
  }

  /** Settles when at least this many bytes came, or the connection is over; looks at no text, so that it is cheap. */
  untilBytes (bytes: number): Promise<void> {
    return this.#when(() => this.bytes >= bytes || this.isOver)
  }

  /** Settles with all the text when the connection is over. */
  async ended (): Promise<string> {
    await this.#when(() => this.isOver)
    return this.text
  }

  #when (isTrue: () => boolean): Promise<void> {
    return new Promise(resolve => {
      const look = (): void => {
        if (!isTrue()) return
        this.#waiting.delete(look)
        resolve()
      }
      this.#waiting.add(look)
      look()
    })
  }
}
