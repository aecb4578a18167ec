import { setTimeout as sleep } from 'node:timers/promises'

const ANSWER = `A plain Server-Sent Events endpoint forgets what it has sent: when the connection drops, the client reconnects and
misses what was sent in the meantime. If the response itself carries the answer of a model, a reload even starts it again.

Here the model does not write to the response. It writes to a log, and each token gets an id there. A reader is a position in
that log. When the page is reloaded, or the phone changes networks, the reader returns with its position and continues after the
last token that it saw. A second device begins at the first token and catches up. Nobody asks the model twice.`

/**
 * Replaces the SDK of your provider: anything that returns an async iterable of text and accepts an AbortSignal. Yields
 * about 25 tokens per second. Throws an AbortError when the signal aborts.
 */
export async function * model (prompt: string, signal: AbortSignal): AsyncGenerator<string> {
  const text = `You asked: “${prompt}”\n\n${ANSWER.replaceAll(/(?<!\n)\n(?!\n)/g, ' ')}`
  for (const token of text.split(/(?<=\s)/)) {
    await sleep(40, undefined, { signal })
    yield token
  }
}
