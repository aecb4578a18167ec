import t from 'tap'
import { sseData } from '../../plugin/ai/sse-data.ts'

const TEXT = ': a comment\n\ndata: {"type":"start"}\n\ndata: two words\n\ndata: [DONE]\n\n'

/** Text in pieces of this many characters. */
async function * piecesOf (text: string, length: number): AsyncGenerator<string> {
  for (let at = 0; at < text.length; at += length) yield text.slice(at, at + length)
}

async function dataIn (text: string, length: number): Promise<string[]> {
  const all: string[] = []
  for await (const { data } of sseData(piecesOf(text, length))) all.push(data)
  return all
}

t.test('the data of each event is returned however the text is split; comments and the final frame are left out', async t => {
  for (const length of [1, 2, 3, 7, TEXT.length]) {
    t.same(await dataIn(TEXT, length), ['{"type":"start"}', 'two words'])
  }
})

t.test('an incomplete event is dropped', async t => {
  t.same(await dataIn('data: whole\n\ndata: half\n', 5), ['whole'])
})
