import t from 'tap'
import { RequestError } from '../../service/cli/request.ts'

t.test('why there is no answer is said, and whether another try may help', async t => {
  const caused = (code: string | undefined, message: string): Error => new TypeError('fetch failed', { cause: Object.assign(new Error(message), { code }) })
  for (const [error, message, isTemporary, mayBeDone] of [
    [Object.assign(new Error('aborted'), { name: 'TimeoutError' }), 'no response', true, true],
    [caused('ECONNREFUSED', ''), 'ECONNREFUSED', true, false],
    [caused('ECONNRESET', 'read ECONNRESET'), 'read ECONNRESET', true, true],
    [caused('DEPTH_ZERO_SELF_SIGNED_CERT', 'self-signed certificate'), 'self-signed certificate', false, true],
    [caused(undefined, 'bad port'), 'bad port', false, true]
  ] as const) {
    t.match(new RequestError('http://h:1/x?y', error), { message: `http://h:1 cannot be reached: ${message}`, isTemporary, mayBeDone })
  }
})
