import { setMaxListeners } from 'node:events'
import { deferred } from '../../common/deferred.ts'
import type { Deferred } from '../../common/deferred.ts'
import type { CloseReason } from './stream-init.ts'

const NO_CALLBACKS: readonly (() => void)[] = []

/** The end of one stream: its reason, and the signal, promise and callbacks that wait for it, each made on demand. */
export class StreamEnd {
  #reason: CloseReason | undefined
  #abort: AbortController | undefined
  #closed: Deferred<CloseReason> | undefined
  #callbacks = NO_CALLBACKS

  /** Undefined until the stream has ended. */
  get reason (): CloseReason | undefined { return this.#reason }

  /** Aborts at the end; its reason is an Error whose `cause` is the close reason. */
  get signal (): AbortSignal {
    this.#abort ??= createAbort()
    if (this.#reason !== undefined && !this.#abort.signal.aborted) this.#abort.abort(abortReason(this.#reason))
    return this.#abort.signal
  }

  /** Resolves to the reason; never rejects. */
  get closed (): Promise<CloseReason> {
    if (this.#reason !== undefined) return Promise.resolve(this.#reason)
    this.#closed ??= deferred<CloseReason>()
    return this.#closed.promise
  }

  /** Calls back at the end, in a microtask of its own. */
  whenClosed (callback: () => void): void {
    if (this.#reason !== undefined) queueMicrotask(callback)
    // A list that grows in place has room for 17.
    else this.#callbacks = this.#callbacks.concat(callback)
  }

  /** To be called once. */
  settle (reason: CloseReason): void {
    this.#reason = reason
    this.#abort?.abort(abortReason(reason))
    this.#closed?.settle(reason)
    for (const callback of this.#callbacks) queueMicrotask(callback)
    this.#callbacks = NO_CALLBACKS
  }
}

/** The signal may have any number of listeners: by default Node warns of a leak at the eleventh. */
function createAbort (): AbortController {
  const abort = new AbortController()
  setMaxListeners(0, abort.signal)
  return abort
}

function abortReason (reason: CloseReason): Error {
  return new Error(`the event stream is over: ${reason}`, { cause: reason })
}
