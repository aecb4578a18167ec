import t from 'tap'
import { runLmdbSchedule } from '../support/model/lmdb-schedule.ts'
import { seeds, whatIsWrong } from '../support/model/seeds.ts'

t.test('every client has every event once and in order, or is told what it missed, over restarts', async t => {
  t.same(await whatIsWrong(seeds(300), runLmdbSchedule), {})
})
