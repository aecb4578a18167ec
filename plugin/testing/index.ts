export { injectSse } from './inject-sse.ts'
export type { InjectedEvent, InjectedStream, InjectSseOptions } from './inject-sse.ts'
