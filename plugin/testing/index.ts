export { injectSse } from './inject-sse.ts'
export type { InjectedEvent, InjectedStream } from './inject-sse.ts'
