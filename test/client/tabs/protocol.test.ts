import t from 'tap'
import { isTabMessage } from '../../../plugin/client/tabs/protocol.ts'

// A message without a field that its receiver reads would throw there.
t.test('a gap has positions', async t => {
  const gap = { kind: 'gap', leader: 'm', detail: { topic: 'a', reason: 'unknown', after: null, resumedAt: null } }
  t.equal(isTabMessage({ ...gap, positions: new Map() }), true)
  t.equal(isTabMessage(gap), false)
})
