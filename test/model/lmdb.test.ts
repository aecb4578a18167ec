import t from 'tap'
import { runLmdbSchedule } from '../support/model/lmdb-schedule.ts'
import { seeds, whatIsWrong } from '../support/model/seeds.ts'

t.test('every client receives every event once and in order, or a gap for what it missed, over restarts', async t => {
  t.same(await whatIsWrong(seeds(300), runLmdbSchedule), {})
})
