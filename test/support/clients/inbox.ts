/** The text that a client has received so far, and a way to wait for more of it without polling. */
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

  /** Settles when `wanted` occurs in the text, or returns true for it. Rejects if the connection ends first. */
  async until (wanted: string | ((text: string) => boolean)): Promise<string> {
    const isThere = typeof wanted === 'string' ? () => this.text.includes(wanted) : () => wanted(this.text)
    await this.#when(() => isThere() || this.isOver)
    if (!isThere()) throw new Error(`the connection ended without ${String(wanted)}, after: ${this.text.slice(-300)}`)
    return this.text
  }

  /**
   * Settles when at least this many bytes have arrived, or the connection has ended; does not inspect the text, so it
   * is cheap.
   */
  untilBytes (bytes: number): Promise<void> {
    return this.#when(() => this.bytes >= bytes || this.isOver)
  }

  /** Resolves to the complete text when the connection has ended. */
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
