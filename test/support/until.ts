import type { ReplyStream } from '../../plugin/reply/stream/reply-stream.ts'
import type { SseStream } from '../../plugin/index.ts'
import { until } from '../../plugin/testing/assert.ts'

export { until }

/** Settles when the stream has been full for a while: the kernel accepts no more. */
export async function stuck (stream: SseStream): Promise<void> {
  let looks = 0
  await until(() => { looks = stream.isFull ? looks + 1 : 0; return looks > 10 })
}

/** One tick of the heartbeat timer, without waiting for it. */
export function tick (stream: SseStream): void {
  (stream as ReplyStream).tick()
}
