import { errors } from '../../errors.ts'

/** A number of bytes that several requests share. */
export class ByteBudget {
  readonly #maxBytes: number
  #bytes = 0

  constructor (maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /** Returns false if there is no room; a request that is alone may exceed the whole budget. */
  take (bytes: number, ownBytes: number): boolean {
    if (this.#bytes + bytes > this.#maxBytes && this.#bytes > ownBytes) return false
    this.#bytes += bytes
    return true
  }

  giveBack (bytes: number): void { this.#bytes -= bytes }
}

/** The error for a request for which there is no room. */
export function busy (): Error {
  return Object.assign(new errors.SERVICE_BUSY(), { headers: { 'retry-after': '1' } })
}
