/** What happens when `push()` or `write()` is called while the buffer of the client is full. */
export type SlowClientPolicy = 'close' | 'drop'

/** The settings of one stream; units and defaults are those of `SseOptions`. */
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
