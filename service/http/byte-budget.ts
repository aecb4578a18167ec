import { errors } from '../errors.ts'

/** Bytes that several requests share. */
export class ByteBudget {
  readonly #maxBytes: number
  #bytes = 0

  constructor (maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /** False when there is no room; a request that has the budget for itself may take more than all of it. */
  take (bytes: number, ownBytes: number): boolean {
    if (this.#bytes + bytes > this.#maxBytes && this.#bytes > ownBytes) return false
    this.#bytes += bytes
    return true
  }

  giveBack (bytes: number): void { this.#bytes -= bytes }
}

/** What a request is told that finds no room. */
export function busy (): Error {
  return Object.assign(new errors.SERVICE_BUSY(), { headers: { 'retry-after': '1' } })
}
