import t from 'tap'
import { readAnswer, RequestError } from '../../../service/cli/request.ts'

t.test('the reason for a missing response is reported, and whether a retry may help', async t => {
  const caused = (code: string | undefined, message: string): Error =>
    new TypeError('fetch failed', { cause: Object.assign(new Error(message), { code }) })
  for (const [error, message, isTemporary, mayBeDone] of [
    [Object.assign(new Error('aborted'), { name: 'TimeoutError' }), 'no response', true, true],
    [caused('ECONNREFUSED', ''), 'ECONNREFUSED', true, false],
    [caused('ECONNRESET', 'read ECONNRESET'), 'read ECONNRESET', true, true],
    [caused('DEPTH_ZERO_SELF_SIGNED_CERT', 'self-signed certificate'), 'self-signed certificate', false, true],
    [caused(undefined, 'bad port'), 'bad port', false, true],
    [caused('ERR_TLS_CERT_ALTNAME_INVALID', 'altnames: DNS:\u001b[31m'), 'altnames: DNS:\\u001b[31m', false, true]
  ] as const) {
    t.match(new RequestError('http://h:1/x?y', error), {
      message: `http://h:1 cannot be reached: ${message}`, isTemporary, mayBeDone
    })
  }
})

t.test('only the start of a response without an end is read', async t => {
  let isCancelled = false
  const endless = new ReadableStream({
    pull: controller => controller.enqueue(Buffer.alloc(65_536, 'x')), cancel () { isCancelled = true }
  })
  const { status, text } = await readAnswer(new Response(endless, { status: 500 }))
  t.equal(status, 500)
  t.ok(text.length < 1_200_000, `${text.length}`)
  t.ok(isCancelled)
  t.match(await readAnswer(new Response(null, { status: 204 })), { status: 204, text: '' })
})
