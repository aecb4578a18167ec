import type { FastifyReply } from 'fastify'
import type { OpenableSource } from '../reply/source.ts'
import type { Producer, SubscribeOptions, Topics } from '../topics/index.ts'
import { topicsErrors } from '../topics/index.ts'
import { sseData } from './sse-data.ts'
import { findRun, isComplete } from './stored-run.ts'
import type { RunsOptions } from './stored-run.ts'

/** Chunks of a UI message stream, as created by `toUIMessageStream()` of the AI SDK. */
export type UIMessageChunks = AsyncIterable<unknown> | ReadableStream<unknown>

/** Creates the answer of a chat. The signal aborts when the answer should stop: pass it on as `abortSignal`. */
export type MakeAnswer = (context: { signal: AbortSignal }) => UIMessageChunks | PromiseLike<UIMessageChunks>

/** The events of an answer, with its chunks as they are sent. */
type MakeEvents = (context: { signal: AbortSignal }) => AsyncIterable<{ data: string }>

/** Stores the stream of a response, see `ChatStreams.sink()`. */
export interface ChatSink {
  /** Aborts when the answer should stop, or cannot be stored: for `streamText({ abortSignal })`. */
  readonly signal: AbortSignal
  /** For the option of the same name of `createUIMessageStreamResponse()` and similar functions. Never rejects. */
  readonly consumeSseStream: (given: { stream: ReadableStream<string> }) => Promise<void>
}

/** The answers of chats, each in the topic of its chat. */
export interface ChatStreams {
  /**
   * Starts the answer of a chat in this process. It continues whether or not anyone reads it. The previous answer is
   * deleted. Rejects with 409 `TOPICS_PRODUCER_EXISTS` while the previous answer is still being written.
   */
  start: (chatId: string, make: MakeAnswer) => Promise<Producer>
  /**
   * Stores the stream of a response that the AI SDK creates. The response itself is sent before it is stored; `start()`
   * and `reply()` send what is stored.
   */
  sink: (chatId: string) => ChatSink
  /** Streams the answer of a chat that `start()` has begun, from its first chunk to its end. Returns the reply. */
  reply: (reply: FastifyReply, chatId: string) => FastifyReply
  /**
   * For the route that a client requests after a reload: like `reply()`, but 204 when no answer is being written. An
   * answer that was stopped, that failed or that lost its producer is sent up to that point. Returns the reply.
   */
  resume: (reply: FastifyReply, chatId: string) => FastifyReply
  /**
   * Asks the producer of a chat's answer to stop, in whichever process it runs. False if no answer is being written.
   */
  stop: (chatId: string, options?: { lease?: number | undefined }) => Promise<boolean>
  /** The topic of a chat, for `app.topics` and for grants. */
  topicOf: (chatId: string) => string
}

/** Declares the protocol of the stream to clients of the AI SDK; the other headers are those of every event stream. */
export const UI_MESSAGE_STREAM_HEADER = { 'x-vercel-ai-ui-message-stream': 'v1' } as const

const FINAL: Pick<SubscribeOptions, 'control' | 'final'> = { control: 'none', final: { data: '[DONE]' } }

/** The streams of `useChat()` over topics. Default `prefix`: `chats/`. */
export function createChatStreams (topics: Topics, { prefix = 'chats/', ...producing }: RunsOptions = {}): ChatStreams {
  const topicOf = (chatId: string): string => prefix + chatId

  async function start (chatId: string, make: MakeEvents): Promise<Producer> {
    const topic = topicOf(chatId)
    await topics.delete(topic, { ifClosed: true })
    return topics.produce(topic, make, producing)
  }

  function send (reply: FastifyReply, chatId: string, isReplayed: boolean): FastifyReply {
    const source = answer(topics, topicOf(chatId), isReplayed)
    return reply.headers(UI_MESSAGE_STREAM_HEADER).sse(source)
  }

  return {
    start: (chatId, make) => start(chatId, context => toEvents(make(context))),
    sink: chatId => createSink(make => start(chatId, make)),
    reply: (reply, chatId) => send(reply, chatId, true),
    resume: (reply, chatId) => send(reply, chatId, false),
    stop: (chatId, options) => topics.stop(topicOf(chatId), options),
    topicOf
  }
}

/** From the first chunk, or from the client's position. */
function answer (topics: Topics, topic: string, isReplayed: boolean): OpenableSource {
  return {
    topics: topic,
    async open (stream) {
      stream.omitControl()
      const { info, startingAfter, isTrimmed } = await findRun(topics, topic)
      if (stream.lastEventId === undefined) {
        if (isComplete(info) && !isReplayed) return undefined
        // A client of the AI SDK cannot use an answer without its beginning.
        if (isTrimmed) throw new topicsErrors.TOPICS_GAP(topic, 'trimmed')
      }
      return topics.subscribe(topic, { ...FINAL, startingAfter }).open(stream)
    }
  }
}

async function * toEvents (making: UIMessageChunks | PromiseLike<UIMessageChunks>): AsyncGenerator<{ data: string }> {
  for await (const chunk of await making) yield { data: JSON.stringify(chunk) }
}

function createSink (start: (make: MakeEvents) => Promise<Producer>): ChatSink {
  const stopping = new AbortController()
  return {
    signal: stopping.signal,
    async consumeSseStream ({ stream }) {
      try {
        await start(({ signal }) => {
          signal.addEventListener('abort', () => { stopping.abort() }, { once: true })
          return sseData(stream)
        })
      } catch (error) {
        // The answer could not be resumed, so the model is stopped. The SDK does not wait for this function.
        stopping.abort(error)
        await stream.cancel(error).catch(() => {})
      }
    }
  }
}
