import t from 'tap'
import { createEventStore } from '../../examples/mcp-event-store.ts'
import { MemoryLog } from '../../plugin/topics/index.ts'
import { startTopics } from '../support/apps/topics-only.ts'

interface Message { id: number }

t.test('an EventStore of MCP replays a stream after an event, and only that stream', async t => {
  const { topics } = await startTopics(t, new MemoryLog({ retention: [{ topics: '*', maxEvents: 3 }] }))
  const store = createEventStore<Message>(topics)
  const ids: string[] = []
  for (const id of [1, 2, 3]) {
    ids.push(await store.storeEvent('s_1', { id }))
    await store.storeEvent('other', { id: 10 * id })
  }
  t.equal(await store.getStreamIdForEventId(ids[0]!), 's_1')
  t.equal(await store.getStreamIdForEventId('nonsense'), undefined)
  const sent: Array<[string, Message]> = []
  const send = async (...event: [string, Message]): Promise<void> => { sent.push(event) }
  t.equal(await store.replayEventsAfter(ids[0]!, { send }), 's_1')
  t.same(sent, [[ids[1], { id: 2 }], [ids[2], { id: 3 }]])
  await t.rejects(store.replayEventsAfter('nonsense', { send }), { message: /not an event id/ })
  for (const id of [4, 5, 6]) await store.storeEvent('s_1', { id })
  await t.rejects(store.replayEventsAfter(ids[0]!, { send }), { message: /missing \(trimmed\)/ })
})
