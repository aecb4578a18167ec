import t from 'tap'
import { provideLocks } from '../support/browser/web-locks.ts'
import { seeds, whatIsWrong } from '../support/model/seeds.ts'
import { runTabsSchedule } from '../support/model/tabs-schedule.ts'

t.test('each tab that shares a connection receives every event once and in order, or a gap for what it missed', async t => {
  provideLocks(t)
  t.same(await whatIsWrong(seeds(20), seed => runTabsSchedule(t, seed)), {})
})
