const DATA = 'data: '
/** The last frame of a UI message stream; dropped here, because `final` of the subscription sends it. */
const LAST = `${DATA}[DONE]`

/**
 * Extracts the data of events from the text of an event stream in the form that the AI SDK writes: LF only, one `data:`
 * line per event. Comments and the last frame, `[DONE]`, are omitted.
 */
export async function * sseData (text: AsyncIterable<string>): AsyncGenerator<{ data: string }> {
  let rest: string[] = []
  for await (const chunk of text) {
    rest.push(chunk)
    // Joined only when a block may be complete, so that a large block in small pieces is scanned once.
    if (!chunk.includes('\n')) continue
    const blocks = rest.join('').split('\n\n')
    rest = [blocks.pop()!]
    for (const block of blocks) {
      if (block.startsWith(DATA) && block !== LAST) yield { data: block.slice(DATA.length) }
    }
  }
}
