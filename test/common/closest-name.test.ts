import t from 'tap'
import { closestName } from '../../plugin/common/closest-name.ts'

const OPTIONS = ['heartbeatMs', 'retryMs', 'maxBufferedBytes', 'highWaterMarkBytes', 'final', 'onError', 'onClose']
const AUTH = ['cookie.name', 'cookie.signed', 'cookie.verify', 'cookie.jwt']

// An option with a typo was answered with a list of sixteen names.
t.test('the name that was meant is found by its letters, its beginning or its case', async t => {
  const cases: [name: string, known: string[], meant: string | undefined][] = [
    ['hearbeatMs', OPTIONS, 'heartbeatMs'],
    ['heartBeatMS', OPTIONS, 'heartbeatMs'],
    ['heartbeat', OPTIONS, 'heartbeatMs'],
    ['retry', OPTIONS, 'retryMs'],
    ['retryMsecs', OPTIONS, 'retryMs'],
    ['maxBufferBytes', OPTIONS, 'maxBufferedBytes'],
    ['onClosed', OPTIONS, 'onClose'],
    ['onErr', OPTIONS, 'onError'],
    ['cookie.nam', AUTH, 'cookie.name'],
    ['cookie.foo', AUTH, undefined],
    ['on', OPTIONS, undefined],
    ['', OPTIONS, undefined],
    ['compression', OPTIONS, undefined],
    ['retry', [], undefined]
  ]
  for (const [name, known, meant] of cases) t.equal(closestName(name, known), meant, name)
})
