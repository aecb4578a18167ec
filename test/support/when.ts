import type { ReplyStream } from '../../plugin/reply/stream/reply-stream.ts'
import type { SseStream } from '../../plugin/index.ts'

/** Settles when the condition holds; polls with a timer, because nothing reports that a kernel buffer is full. */
export function when (condition: () => boolean): Promise<void> {
  return new Promise(resolve => {
    const timer = setInterval(() => {
      if (!condition()) return
      clearInterval(timer)
      resolve()
    }, 2)
  })
}

/** Settles when the stream has been full for a while: the kernel accepts no more. */
export async function stuck (stream: SseStream): Promise<void> {
  let looks = 0
  await when(() => { looks = stream.isFull ? looks + 1 : 0; return looks > 10 })
}

/** One tick of the heartbeat timer, without waiting for it. */
export function tick (stream: SseStream): void {
  (stream as ReplyStream).tick()
}
