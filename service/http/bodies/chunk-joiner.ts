/** Smaller chunks are joined into chunks of up to this size. */
const JOINED_BYTES = 16 * 1024
const FIRST_BYTES = 512

/**
 * Joins small chunks of a body. Each chunk costs some hundred bytes of memory for as long as it is kept, and a client
 * may send one byte per chunk: a body of 1 MiB took 400 MiB.
 */
export class ChunkJoiner {
  #buffer = Buffer.alloc(0)
  #filled = 0

  /** Returns the chunks that are complete, in order; often none. */
  add (chunk: Buffer): Buffer[] {
    const complete = this.#filled + chunk.length > JOINED_BYTES ? this.flush() : []
    if (chunk.length >= JOINED_BYTES) return [...complete, chunk]
    this.#append(chunk)
    return complete
  }

  /** Returns the rest, if any. */
  flush (): Buffer[] {
    if (this.#filled === 0) return []
    const joined = this.#buffer.subarray(0, this.#filled)
    this.#buffer = Buffer.alloc(0)
    this.#filled = 0
    return [joined]
  }

  #append (chunk: Buffer): void {
    const bytes = this.#filled + chunk.length
    if (bytes > this.#buffer.length) this.#grow(bytes)
    chunk.copy(this.#buffer, this.#filled)
    this.#filled = bytes
  }

  /** Grows by doubling: most bodies are small, and each byte is copied a constant number of times. */
  #grow (bytes: number): void {
    const larger = Buffer.allocUnsafeSlow(Math.max(FIRST_BYTES, bytes, 2 * this.#buffer.length))
    this.#buffer.copy(larger, 0, 0, this.#filled)
    this.#buffer = larger
  }
}
