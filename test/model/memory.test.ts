import t from 'tap'
import { runMemorySchedule } from '../support/model/memory-schedule.ts'
import { runLivesSchedule } from '../support/model/lives-schedule.ts'
import { firstSeeds, seeds, whatIsWrong } from '../support/model/seeds.ts'

t.test('every client receives every event once and in order, or a gap for what it missed', async t => {
  t.same(await whatIsWrong(seeds(600), seed => runMemorySchedule(seed)), {})
})

// A model test that cannot fail proves nothing: each rule that it checks is broken in turn, and it must report that.
const broken = [
  ['resume rule', 'stream'], ['resume rule', 'loop'], ['resume rule', 'pages'], ['resync', 'stream'], ['resync', 'loop']
] as const
for (const [sabotage, kind] of broken) {
  t.test(`a broken ${sabotage} is detected by clients of the kind "${kind}"`, async t => {
    const run = (seed: number): Promise<string[]> => runMemorySchedule(seed, sabotage, [kind])
    t.not(Object.keys(await whatIsWrong(firstSeeds(200), run, 1, /something is missing|ends at/)).length, 0)
  })
}

t.test('when topics are closed, deleted, reopened and forgotten, no loss is unreported, and every cursor is recognised', async t => {
  t.same(await whatIsWrong(seeds(400), runLivesSchedule), {})
})
