import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { TurnQueue } from '../../../../service/http/connections/turn-queue.ts'
import { spin } from '../../../support/spin.ts'

/** Longer than a whole turn. */
const LONG_MS = 6

const [connection, other] = [{}, {}]

t.test('tasks run in order, and the event loop does other work in between', async t => {
  const queue = new TurnQueue()
  const ran: number[] = []
  for (let at = 0; at < 3; at++) queue.add(connection, () => { ran.push(at); spin(LONG_MS) })
  t.same(ran, [], 'never in the turn in which they are added')
  for (const expected of [[0], [0, 1], [0, 1, 2]]) {
    await turn()
    t.same(ran, expected)
  }
})

// Regression: a client with few requests waited for all those that another one had sent before.
t.test('a connection does not wait for all tasks of another one', async t => {
  const queue = new TurnQueue()
  const ran: string[] = []
  for (const name of ['a1', 'a2', 'a3']) queue.add(connection, () => { ran.push(name) })
  for (const name of ['b1', 'b2']) queue.add(other, () => { ran.push(name) })
  t.ok(queue.has(other))
  while (queue.length > 0) await turn()
  t.same(ran, ['a1', 'b1', 'a2', 'b2', 'a3'])
  t.notOk(queue.has(other))
})

// Regression: the tasks that had run were kept until the queue was empty, which under a constant load is never.
t.test('a queue that is never empty keeps only the tasks that have not run', async t => {
  const queue = new TurnQueue()
  let isOver = false
  const task = (): void => { spin(LONG_MS); if (!isOver) queue.add(connection, task) }
  queue.add(connection, task)
  queue.add(connection, task)
  for (let round = 0; round < 20; round++) {
    await turn()
    t.ok(queue.length <= 2, `${queue.length} tasks`)
  }
  isOver = true
})
