import { MockLanguageModelV4 } from 'ai/test'
import { model as write } from '../ai-chat/model.ts'

interface Call {
  prompt: Array<{ role: string, content: Array<{ type: string, text?: string }> }>
  abortSignal: AbortSignal
}

const tokens = { total: 0, text: 0 }

/** The parts that a provider's model yields for a call. */
async function * parts ({ prompt, abortSignal }: Call): AsyncGenerator<object> {
  const question = prompt.at(-1)?.content.map(({ text = '' }) => text).join('') ?? ''
  yield { type: 'stream-start', warnings: [] }
  yield { type: 'text-start', id: '1' }
  for await (const delta of write(question, abortSignal)) yield { type: 'text-delta', id: '1', delta }
  yield { type: 'text-end', id: '1' }
  yield {
    type: 'finish', finishReason: { unified: 'stop', raw: 'stop' }, usage: { inputTokens: tokens, outputTokens: tokens }
  }
}

/** Replaces the model of your provider, such as `openai('…')`, so that no key is needed. */
export const model: unknown = new MockLanguageModelV4({
  doStream: async (call: Call) => ({ stream: ReadableStream.from(parts(call)) })
})
