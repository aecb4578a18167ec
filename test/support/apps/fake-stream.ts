import type { CloseReason, SseStream, StreamOwner } from '../../../plugin/index.ts'
import type { StreamRegistry } from '../../../plugin/reply/stream/open-streams.ts'

interface FakeInit {
  owner?: StreamOwner | undefined
  topics?: readonly string[]
  onClose?: (stream: SseStream, reason: CloseReason) => void
  /** Called whenever the pending bytes of the client are read. */
  onLook?: () => void
}

/** A stream without a response, in a registry; for code that only reads its owner and ends it. */
export function fakeStream (
  registry: StreamRegistry,
  { owner, topics = [], onClose, onLook }: FakeInit = {}
): SseStream {
  const fake = {
    owner,
    isOpen: true,
    ageMs: 0,
    topics,
    written: { events: 0, bytes: 0 },
    get bufferedBytes () {
      onLook?.()
      return 0
    },
    close (reason: CloseReason) {
      if (!fake.isOpen) return
      fake.isOpen = false
      onClose?.(stream, reason)
      registry.close(stream, reason, console)
      registry.remove(stream)
    },
    closeWithRetry: (reason: CloseReason) => fake.close(reason)
  }
  const stream = fake as unknown as SseStream
  registry.add(stream)
  return stream
}
