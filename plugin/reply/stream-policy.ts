/** What happens when `push()` or `write()` meets a client whose buffer is full. */
export type SlowClientPolicy = 'close' | 'drop'

/** How one stream behaves; its units and defaults are those of `SseOptions`. */
export interface StreamPolicy {
  heartbeatMs: number
  retryMs: number | false
  maxBufferedBytes: number
  highWaterMarkBytes: number
  slowClient: SlowClientPolicy
  maxLifetimeMs: number
  lifetimeJitter: number
  final: boolean
}
