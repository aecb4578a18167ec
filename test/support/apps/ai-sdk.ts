// The packages are imported by name and typed by what the tests use of them, so that both major versions of one SDK
// pass the same tests.

export interface UIMessage { id: string, role: string, parts: Array<{ type: string, text?: string }> }

interface ChatState { status: string, error: Error | undefined, messages: UIMessage[] }

export interface Chat {
  readonly status: string
  readonly error: Error | undefined
  readonly messages: UIMessage[]
  sendMessage: (message: { text: string }) => Promise<void>
  resumeStream: () => Promise<void>
}

export interface ChatInit { id: string, messages?: UIMessage[], api: string }

export interface Sdk {
  /** A model that answers with these words, each when `step` releases it. */
  model: (words: AsyncIterable<string>) => unknown
  streamText: (options: { model: unknown, prompt: string, abortSignal: AbortSignal }) => {
    toUIMessageStream: () => ReadableStream<unknown>
  }
  createUIMessageStreamResponse: (options: {
    stream: ReadableStream<unknown>
    keepAliveMs?: number
    consumeSseStream: (given: { stream: ReadableStream<string> }) => unknown
  }) => Response
  createChat: (init: ChatInit) => Chat
}

interface Modules {
  AbstractChat: new (init: object) => Chat
  DefaultChatTransport: new (init: { api: string }) => object
  MockLanguageModelV3: new (init: object) => unknown
  streamText: Sdk['streamText']
  createUIMessageStreamResponse: Sdk['createUIMessageStreamResponse']
}

/** The AI SDK under the name with which it is installed: `ai`, or `ai6` for the previous major version. */
export async function loadSdk (name: string): Promise<Sdk> {
  const { AbstractChat, DefaultChatTransport, MockLanguageModelV3, ...sdk } = {
    ...await import(name),
    ...await import(`${name}/test`)
  } as Modules
  return {
    streamText: sdk.streamText,
    createUIMessageStreamResponse: sdk.createUIMessageStreamResponse,
    model: words => new MockLanguageModelV3({
      doStream: async ({ abortSignal }: { abortSignal: AbortSignal }) => ({
        stream: untilAborted(parts(words), abortSignal)
      })
    }),
    createChat: ({ id, messages = [], api }) =>
      new AbstractChat({ id, transport: new DefaultChatTransport({ api }), state: chatState(messages) })
  }
}

async function * parts (words: AsyncIterable<string>): AsyncGenerator<object> {
  yield { type: 'stream-start', warnings: [] }
  yield { type: 'text-start', id: '1' }
  for await (const delta of words) yield { type: 'text-delta', id: '1', delta }
  yield { type: 'text-end', id: '1' }
  const tokens = { total: 1, text: 1 }
  yield {
    type: 'finish',
    finishReason: { unified: 'stop', raw: undefined },
    usage: { inputTokens: tokens, outputTokens: tokens }
  }
}

/** Like the response of a provider whose request is aborted. */
function untilAborted (items: AsyncGenerator<object>, signal: AbortSignal): ReadableStream<object> {
  return ReadableStream.from(items).pipeThrough(new TransformStream(), { signal })
}

function chatState (messages: UIMessage[]): ChatState & object {
  return {
    status: 'ready',
    error: undefined,
    messages: [...messages],
    pushMessage (message: UIMessage) { this.messages = [...this.messages, message] },
    popMessage () { this.messages = this.messages.slice(0, -1) },
    replaceMessage (at: number, message: UIMessage) {
      this.messages = this.messages.with(at, structuredClone(message))
    },
    snapshot: structuredClone
  } as ChatState & object
}

/** The text of the newest message. */
export function textOf ({ messages }: Chat): string {
  return messages.at(-1)?.parts.map(({ text = '' }) => text).join('') ?? ''
}

/** Words that a test releases one by one. */
export class Words {
  readonly #given: string[] = []
  #wake = (): void => {}
  #isOver = false
  isLeft = false

  say (...words: string[]): void {
    this.#given.push(...words)
    this.#wake()
  }

  end (): void {
    this.#isOver = true
    this.#wake()
  }

  async * [Symbol.asyncIterator] (): AsyncGenerator<string> {
    try {
      for (;;) {
        while (this.#given.length > 0) yield this.#given.shift()!
        if (this.#isOver) return
        await new Promise<void>(resolve => { this.#wake = resolve })
      }
    } finally {
      this.isLeft = true
    }
  }
}
