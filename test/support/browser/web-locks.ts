import { setMaxListeners } from 'node:events'
import type { Test } from 'tap'
import type { LockManagerLike } from '../../../plugin/client/browser.ts'

interface Waiting { grant: () => void }
type LockOptions = { signal: AbortSignal } | { steal: true }
/** A lock: the requests that wait for it, and how it is taken from its holder. */
interface Lock { queue: Waiting[], take: () => void }

/**
 * Web Locks within one process, for Node versions that lack them; exclusive locks only. Pages with real ones are tested
 * in test/browser.
 */
export class WebLocks implements LockManagerLike {
  readonly #held = new Map<string, Lock>()

  async request (name: string, options: LockOptions, whileHeld: () => Promise<void>): Promise<void> {
    const lock = 'steal' in options ? this.#steal(name) : await this.#granted(name, options.signal)
    const taken = new Promise<'taken'>(resolve => { lock.take = () => resolve('taken') })
    const end = await Promise.race([whileHeld(), taken])
    if (end === 'taken') throw new DOMException('The lock was stolen', 'AbortError')
    const next = lock.queue.shift()
    if (next) next.grant()
    else this.#held.delete(name)
  }

  async query (): Promise<{ held: { name: string }[] }> {
    return { held: [...this.#held.keys()].map(name => ({ name })) }
  }

  #steal (name: string): Lock {
    const lock = this.#held.get(name) ?? this.#create(name)
    lock.take()
    return lock
  }

  #create (name: string): Lock {
    const lock = { queue: [], take: () => {} }
    this.#held.set(name, lock)
    return lock
  }

  #granted (name: string, signal: AbortSignal): Promise<Lock> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason)
      const lock = this.#held.get(name)
      if (!lock) return resolve(this.#create(name))
      const waiting = { grant: () => resolve(lock) }
      lock.queue.push(waiting)
      // One for each tab that is watched.
      setMaxListeners(0, signal)
      signal.addEventListener('abort', () => {
        const at = lock.queue.indexOf(waiting)
        if (at === -1) return
        lock.queue.splice(at, 1)
        reject(signal.reason)
      })
    })
  }
}

/** Adds to Node's global scope what tabs need to find each other, until the test ends. */
export function provideLocks (t: Test, locks: LockManagerLike = new WebLocks()): void {
  replaceNavigator(t, { locks })
}

/** Removes it until the test ends: Node 24.5 and later have Web Locks of their own. */
export function withoutLocks (t: Test): void {
  replaceNavigator(t, {})
}

function replaceNavigator (t: Test, value: object): void {
  const before = Object.getOwnPropertyDescriptor(globalThis, 'navigator')
  Object.defineProperty(globalThis, 'navigator', { value, configurable: true })
  t.teardown(() => {
    if (before) Object.defineProperty(globalThis, 'navigator', before)
    else delete (globalThis as { navigator?: unknown }).navigator
  })
}
