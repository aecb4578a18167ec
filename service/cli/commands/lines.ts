import { StringDecoder } from 'node:string_decoder'
import { CommandError } from '../command.ts'

/** A line of input without its line break, numbered from 1. */
export interface Line { number: number, text: string }

/** Maximum length of a line, in characters: the largest value of MAX_EVENT_BYTES. */
export const MAX_LINE = 16_777_216

/**
 * The lines of each chunk, as soon as they are complete; the text after the last line break is a line, too. LF and CR
 * LF end a line. Rejects with a `CommandError` if a line is too long for any event.
 */
export async function * linesOf (input: AsyncIterable<Buffer>): AsyncGenerator<Line[]> {
  let number = 1
  let rest: string[] = []
  let length = 0
  const decoder = new StringDecoder()
  for await (const chunk of input) {
    const [first, ...others] = decoder.write(chunk).split('\n') as [string, ...string[]]
    rest.push(first)
    length += first.length
    if (length > MAX_LINE) throw new CommandError(`line ${number} has more than ${MAX_LINE} characters`)
    if (others.length === 0) continue
    const texts = [rest.join(''), ...others.slice(0, -1)]
    yield texts.map(text => ({ number: number++, text: text.endsWith('\r') ? text.slice(0, -1) : text }))
    rest = [others.at(-1)!]
    length = rest[0]!.length
  }
  const text = rest.join('') + decoder.end()
  if (text !== '') yield [{ number, text }]
}
