import t from 'tap'
import { dispose } from '../../../plugin/reply/source-kind.ts'

t.test('a source that is not streamed is released, and one that cannot be released does no harm', async t => {
  const released: string[] = []
  async function * events (): AsyncGenerator<string> {
    try { yield 'a'; yield 'b' } finally { released.push('generator') }
  }
  const generator = events()
  await generator.next()
  dispose(generator)
  dispose(Promise.resolve(events()))
  const failing = {
    destroy () { throw new Error('cannot') }, [Symbol.asyncIterator]: () => events(), on () {}, pipe () {}, read () {}
  }
  t.doesNotThrow(() => dispose(failing))
  t.doesNotThrow(() => dispose({
    next: () => ({ done: true, value: undefined }), return () { throw new Error('cannot') }
  }))
  t.doesNotThrow(() => dispose(Promise.reject(new Error('no source'))))
  for (const nothing of [undefined, null, 'text', 1, {}, []]) t.doesNotThrow(() => dispose(nothing))
  const web = new ReadableStream({ cancel () { released.push('web') } })
  dispose(web)
  dispose(new Response(new ReadableStream({ cancel () { released.push('response') } })))
  const locked = new ReadableStream()
  locked.getReader()
  t.doesNotThrow(() => dispose(locked))
  await new Promise(resolve => { setImmediate(resolve) })
  t.same(released.sort(), ['generator', 'response', 'web'])
})
