import { errors } from '../../errors.ts'

/** A number of bytes that several requests share. */
export class ByteBudget {
  readonly #maxBytes: number
  readonly #whole: ByteBudget | undefined
  #bytes = 0

  /** With `whole`, a part of that budget: its bytes count there, too. */
  constructor (maxBytes: number, whole?: ByteBudget) {
    this.#maxBytes = maxBytes
    this.#whole = whole
  }

  /** Returns false if there is no room; a request that is alone may exceed the whole budget. */
  take (bytes: number, ownBytes: number): boolean {
    if (this.#bytes + bytes > this.#maxBytes && this.#bytes > ownBytes) return false
    if (this.#whole?.take(bytes, ownBytes) === false) return false
    this.#bytes += bytes
    return true
  }

  giveBack (bytes: number): void {
    this.#bytes -= bytes
    this.#whole?.giveBack(bytes)
  }
}

/** The error for a request for which there is no room. */
export function busy (): Error {
  return Object.assign(new errors.SERVICE_BUSY(), { headers: { 'retry-after': '1' } })
}
