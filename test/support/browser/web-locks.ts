import type { Test } from 'tap'

interface Waiting { grant: () => void }

/**
 * Web Locks within one process, for Node versions that lack them; exclusive locks only. Pages with real ones are tested
 * in test/browser.
 */
class WebLocks {
  readonly #held = new Map<string, Waiting[]>()

  async request (name: string, { signal }: { signal: AbortSignal }, whileHeld: () => Promise<void>): Promise<void> {
    await this.#granted(name, signal)
    try {
      await whileHeld()
    } finally {
      const next = this.#held.get(name)!.shift()
      if (next) next.grant()
      else this.#held.delete(name)
    }
  }

  async query (): Promise<{ held: { name: string }[] }> {
    return { held: [...this.#held.keys()].map(name => ({ name })) }
  }

  #granted (name: string, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason)
      const queue = this.#held.get(name)
      if (!queue) {
        this.#held.set(name, [])
        return resolve()
      }
      const waiting = { grant: resolve }
      queue.push(waiting)
      signal.addEventListener('abort', () => {
        const at = queue.indexOf(waiting)
        if (at === -1) return
        queue.splice(at, 1)
        reject(signal.reason)
      })
    })
  }
}

/** Adds to Node's global scope what tabs need to find each other, until the test ends. */
export function provideLocks (t: Test): void {
  replaceNavigator(t, { locks: new WebLocks() })
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
