import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { TurnQueue } from '../../../../service/http/connections/turn-queue.ts'

/** Uses up a whole turn. */
function spin (): void {
  const endsAt = performance.now() + 6
  while (performance.now() < endsAt) continue
}

t.test('tasks run in order, and the event loop does other work in between', async t => {
  const queue = new TurnQueue()
  const ran: number[] = []
  for (let at = 0; at < 3; at++) queue.add(() => { ran.push(at); spin() })
  t.same(ran, [], 'never in the turn in which they are added')
  for (const expected of [[0], [0, 1], [0, 1, 2]]) {
    await turn()
    t.same(ran, expected)
  }
})

// Regression: the tasks that had run were kept until the queue was empty, which under a constant load is never.
t.test('a queue that is never empty keeps only the tasks that have not run', async t => {
  const queue = new TurnQueue()
  let isOver = false
  const task = (): void => { spin(); if (!isOver) queue.add(task) }
  queue.add(task)
  queue.add(task)
  for (let round = 0; round < 20; round++) {
    await turn()
    t.ok(queue.length <= 2, `${queue.length} tasks`)
  }
  isOver = true
})
