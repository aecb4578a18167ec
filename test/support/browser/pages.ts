import { AsyncLocalStorage } from 'node:async_hooks'
import { setMaxListeners } from 'node:events'
import type { Test } from 'tap'
import type { LockManagerLike } from '../../../plugin/client/browser.ts'
import { provideLocks, WebLocks } from './web-locks.ts'

// Pages within one process, which can be suspended and can crash. The code of a page runs in an asynchronous context of
// its own, which shows whose channel, lock, request or interval it is.

type Channel = InstanceType<typeof BroadcastChannel>
type LockRequest = Parameters<LockManagerLike['request']>

const context = new AsyncLocalStorage<Page>()

/** A page; all that it does must be started in `run()`. */
export class Page {
  readonly #crash = new AbortController()
  /** What happens when a suspended page continues, in order. */
  #pending: (() => void)[] = []
  isSuspended = false

  constructor () { setMaxListeners(0, this.crashed) }

  get crashed (): AbortSignal { return this.#crash.signal }

  run<T> (act: () => T): T { return context.run(this, act) }

  /** Runs this when the page is not suspended, and not at all after a crash. */
  do (act: () => void): void {
    if (this.isSuspended) this.#pending.push(act)
    else if (!this.crashed.aborted) this.run(act)
  }

  /** Settles when the page is not suspended; never after a crash. */
  running (): Promise<void> { return new Promise(resolve => this.do(resolve)) }

  suspend (): void { this.isSuspended = true }

  continue (): void {
    this.isSuspended = false
    for (const act of this.#pending.splice(0)) this.do(act)
  }

  /** The browser ends the page: its locks are free, its connections and channels closed, and no code of it runs. */
  crash (): void {
    this.#pending = []
    this.#crash.abort()
  }

  /** The requests of the page. */
  readonly fetch: typeof fetch = async (input, init) => {
    await this.running()
    try {
      const signals = init?.signal ? [init.signal, this.crashed] : [this.crashed]
      const response = await fetch(input, { ...init, signal: AbortSignal.any(signals) })
      const whileRunning = new TransformStream<Uint8Array, Uint8Array>({
        transform: async (chunk, controller) => {
          await this.running()
          controller.enqueue(chunk)
        }
      })
      const { status, headers } = response
      return new Response(response.body?.pipeThrough(whileRunning) ?? null, { status, headers })
    } finally {
      await this.running()
    }
  }
}

/** The BroadcastChannel of a page. */
class PageChannel {
  onmessage: ((event: { data: unknown }) => void) | undefined
  readonly #channel: Channel
  readonly #page = context.getStore()!
  #isClosed = false

  constructor (channel: Channel) {
    this.#channel = channel
    channel.onmessage = (event: unknown) => this.#do(() => this.onmessage?.(event as { data: unknown }))
    this.#page.crashed.addEventListener('abort', () => channel.close())
  }

  postMessage (message: unknown): void { this.#do(() => { this.#channel.postMessage(message) }) }

  close (): void {
    this.#isClosed = true
    this.#channel.close()
  }

  #do (act: () => void): void { this.#page.do(() => { if (!this.#isClosed) act() }) }
}

/** The Web Locks of all pages. */
class PageLocks implements LockManagerLike {
  readonly #locks = new WebLocks()

  async request (...[name, options, whileHeld]: LockRequest): Promise<void> {
    const page = context.getStore()!
    await page.running()
    const { crashed } = page
    const isOver = new Promise<void>(resolve => crashed.addEventListener('abort', () => resolve(), { once: true }))
    const own = 'signal' in options ? { signal: AbortSignal.any([options.signal, crashed]) } : options
    try {
      await this.#locks.request(name, own, () => Promise.race([page.running().then(whileHeld), isOver]))
    } finally {
      await page.running()
    }
  }

  async query (): ReturnType<LockManagerLike['query']> {
    await context.getStore()!.running()
    return await this.#locks.query()
  }
}

/** Adds to Node's global scope what pages need to find each other, until the test ends. */
export function providePages (t: Test): void {
  provideLocks(t, new PageLocks())
  const Base = BroadcastChannel
  t.intercept(globalThis, 'BroadcastChannel', {
    value: class extends PageChannel { constructor (name: string) { super(new Base(name)) } },
    configurable: true
  })
  const start = setInterval
  t.intercept(globalThis, 'setInterval', {
    value: (tick: () => void, ms: number) => {
      const page = context.getStore()
      return start(() => { if (!page?.isSuspended) tick() }, ms)
    },
    configurable: true
  })
}
