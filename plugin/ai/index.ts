export { createChatStreams, UI_MESSAGE_STREAM_HEADER } from './chat-streams.ts'
export type { ChatSink, ChatStreams, MakeAnswer, UIMessageChunks } from './chat-streams.ts'
export { createResumableStreamContext } from './resumable-streams.ts'
export type {
  MakeStringStream, ResumableStreamContext, ResumableStreamContextOptions
} from './resumable-streams.ts'
export { createStreamDurability } from './stream-durability.ts'
export type { StoredChunk, StreamDurability, StreamDurabilityInit } from './stream-durability.ts'
export { createAssistantStreamStore } from './assistant-store.ts'
export type {
  ResumableStreamAcquisition, ResumableStreamEntry, ResumableStreamLease, ResumableStreamStatus, ResumableStreamStore
} from './assistant-store.ts'
export type { RunsOptions } from './stored-run.ts'
export { errors as aiErrors } from './errors.ts'
export type { AiErrorCode } from './errors.ts'
