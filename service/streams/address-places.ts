/** The streams that hold a place, by address; oldest first. Addresses without streams are not kept. */
export class AddressPlaces<S> {
  readonly #addresses = new Map<S, string>()
  readonly #streams = new Map<string, Set<S>>()

  /** The number of places taken. */
  get size (): number { return this.#addresses.size }
  get addresses (): number { return this.#streams.size }

  of (address: string): ReadonlySet<S> { return this.#streams.get(address) ?? new Set() }

  /** The address of a stream; undefined if the stream has no place. */
  addressOf (stream: S): string | undefined { return this.#addresses.get(stream) }

  add (address: string, stream: S): void {
    this.#addresses.set(stream, address)
    const known = this.#streams.get(address)
    if (known) known.add(stream)
    else this.#streams.set(address, new Set([stream]))
  }

  /** Returns false if the stream has no place. */
  delete (stream: S): boolean {
    const address = this.#addresses.get(stream)
    if (address === undefined) return false
    this.#addresses.delete(stream)
    const streams = this.#streams.get(address)!
    streams.delete(stream)
    if (streams.size === 0) this.#streams.delete(address)
    return true
  }
}
