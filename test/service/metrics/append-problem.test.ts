import t from 'tap'
import { errors } from '../../../plugin/topics/errors.ts'
import { AppendProblem } from '../../../service/metrics/append-problem.ts'

t.test('the last failure of the log is reported until an append succeeds, or for a minute', async t => {
  let nowMs = 0
  const problem = new AppendProblem(() => nowMs)
  problem.fail(new errors.TOPICS_CLOSED('news'))
  t.equal(problem.text, undefined, 'an error of the caller is no problem of the log')
  problem.fail(new errors.TOPICS_LOG_UNAVAILABLE('full'))
  nowMs = 59_999
  t.equal(problem.text, 'the log is not available: full')
  nowMs = 60_000
  t.equal(problem.text, undefined)
  problem.fail(new errors.TOPICS_LOG_UNAVAILABLE('full'))
  problem.succeed()
  t.equal(problem.text, undefined)
})
