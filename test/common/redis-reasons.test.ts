import t from 'tap'
import { reasonOf } from '../../plugin/common/redis/redis-errors.ts'

t.test('the reason of an error of Redis or the network is found, wherever ioredis and Node have put it', async t => {
  const refused = Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' })
  t.equal(reasonOf(refused), 'connect ECONNREFUSED')
  t.equal(
    reasonOf(new AggregateError([refused, new Error('second')], '')),
    'connect ECONNREFUSED',
    'the first of several addresses'
  )
  t.equal(reasonOf(Object.assign(new Error('all nodes failed'), { lastNodeError: refused })), 'connect ECONNREFUSED')
  t.equal(reasonOf(Object.assign(new Error('all nodes failed'), { lastNodeError: null })), 'all nodes failed')
  t.equal(reasonOf(Object.assign(new Error(''), { name: 'TimeoutError' })), 'TimeoutError', 'without a message, its name')
})
