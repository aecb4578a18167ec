import { addressOf } from '../http/client-address.ts'
import { errors } from '../errors.ts'

/** How many streams there may be at one time; 0 stands for any number. */
export interface StreamLimitsInit { maxConnections: number, maxConnectionsPerAddress: number, maxConnectionsPerSubject: number }

/** Whose stream it is. */
export interface StreamOwner {
  /** As `addressOf` counts it; undefined on a Unix socket. */
  address: string | undefined
  /** Undefined where nobody is authenticated. */
  subject: string | undefined
}

/** Counts the streams of this process, in all and by owner. Who has no stream is not remembered. */
export class StreamLimits {
  readonly #init: StreamLimitsInit
  readonly #byAddress = new Map<string, number>()
  readonly #bySubject = new Map<string, number>()
  #all = 0

  constructor (init: StreamLimitsInit) {
    this.#init = init
  }

  /** Streams, and those who have any. */
  get counts (): { streams: number, addresses: number, subjects: number } {
    return { streams: this.#all, addresses: this.#byAddress.size, subjects: this.#bySubject.size }
  }

  /** Takes a place; what it returns gives it back and must be called once. Throws `SERVICE_TOO_MANY_CONNECTIONS…` and takes none. */
  take ({ address: ip, subject }: StreamOwner): () => void {
    const address = addressOf(ip)
    const { maxConnections, maxConnectionsPerAddress, maxConnectionsPerSubject } = this.#init
    if (isFull(this.#all, maxConnections)) throw new errors.SERVICE_TOO_MANY_CONNECTIONS(maxConnections)
    if (isFull(this.#byAddress.get(address), maxConnectionsPerAddress)) throw new errors.SERVICE_TOO_MANY_CONNECTIONS_OF_ADDRESS(maxConnectionsPerAddress)
    if (subject !== undefined && isFull(this.#bySubject.get(subject), maxConnectionsPerSubject)) throw new errors.SERVICE_TOO_MANY_CONNECTIONS_OF_SUBJECT(maxConnectionsPerSubject)
    this.#move({ address, subject }, 1)
    return () => this.#move({ address, subject }, -1)
  }

  #move ({ address, subject }: { address: string, subject: string | undefined }, by: 1 | -1): void {
    this.#all += by
    count(this.#byAddress, address, by)
    if (subject !== undefined) count(this.#bySubject, subject, by)
  }
}

function isFull (taken = 0, limit: number): boolean {
  return limit > 0 && taken >= limit
}

function count (counts: Map<string, number>, key: string, by: 1 | -1): void {
  const now = (counts.get(key) ?? 0) + by
  if (now === 0) counts.delete(key)
  else counts.set(key, now)
}
