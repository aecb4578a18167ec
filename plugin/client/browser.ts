/** The browser APIs that this client uses. All are optional, because Node lacks them. */

export interface EventSourceLike {
  readonly readyState: number
  addEventListener (type: string, listener: (event: { data: string, lastEventId: string }) => void): void
  onopen: (() => void) | null
  onerror: (() => void) | null
  close (): void
}

export interface LockManagerLike {
  request (
    name: string, options: { signal: AbortSignal } | { steal: true }, whileHeld: () => Promise<void>
  ): Promise<void>
  query (): Promise<{ held?: { name?: string }[] }>
}

interface StorageLike {
  getItem (key: string): string | null
  setItem (key: string, value: string): void
}

interface Browser {
  readonly EventSource?: new (url: string, init: { withCredentials: boolean }) => EventSourceLike
  readonly navigator?: { readonly locks?: LockManagerLike }
  readonly sessionStorage?: StorageLike
  readonly document?: EventTarget & { readonly visibilityState: string }
  readonly location?: { readonly href: string }
  readonly addEventListener?: EventTarget['addEventListener']
}

export const browser = globalThis as unknown as Browser
