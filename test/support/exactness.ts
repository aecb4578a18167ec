import type { Test } from 'tap'
import { open } from './clients/client.ts'
import { call } from './service/service-app.ts'
import type { StubbornPublisher } from './service/stubborn-publisher.ts'

/** The last event of a topic. Published data starts with its topic, as with `StubbornPublisher`. */
const END = 'end'

/** The parts of a client that are compared. */
export interface ExactClient {
  topics: readonly string[]
  /** In order of arrival. `cursor` is the id of the event if the client has only one topic. */
  events: { cursor: string, data: string }[]
  gaps: readonly unknown[]
  refusals: readonly unknown[]
  /** Settles when all of these have arrived. */
  untilData: (wanted: readonly string[]) => Promise<void>
}

interface Published { id: string, data: string }

/**
 * Ends a run and compares everything: the results of publishers, the content of the log, and the events of clients.
 * Publishers and clients must have been connected from the first event on.
 */
export async function checkExactness (
  t: Test,
  origin: string,
  topics: readonly string[],
  publishers: readonly StubbornPublisher[],
  clients: readonly ExactClient[]
): Promise<void> {
  await Promise.all(publishers.map(publisher => publisher.stop()))
  for (const topic of topics) {
    const { status } = await call(`${origin}/topics/${topic}/events`, {
      method: 'POST', body: `${topic} ${END}`, type: 'text/plain'
    })
    t.equal(status, 201)
  }
  await Promise.all(clients.map(client => client.untilData(client.topics.map(topic => `${topic} ${END}`))))
  const acknowledged = publishers.flatMap(publisher => publisher.acknowledged)
  for (const topic of topics) {
    const log = await readLog(t, origin, topic)
    checkLog(t, topic, log, acknowledged.filter(event => event.topic === topic), publishers)
    for (const [at, client] of clients.entries()) {
      if (client.topics.includes(topic)) checkClient(t, `client ${at}, topic ${topic}`, topic, log, client)
    }
  }
  for (const client of clients) {
    t.same(client.gaps, [], 'no gap where nothing was lost')
    t.same(client.refusals, [], 'never rejected')
  }
}

async function readLog (t: Test, origin: string, topic: string): Promise<Published[]> {
  const { inbox, close } = await open(t, `${origin}/events?topic=${topic}&lastEventId=0-0`)
  const text = await inbox.until(`data: ${topic} ${END}\n`)
  close()
  return [...text.matchAll(/^id: (\S+)\ndata: (.*)$/gm)].map(([, id, data]) => ({ id: id!, data: data! }))
}

/**
 * Each acknowledged event is in the log exactly once, under its id, nothing else is, and the events of each publisher
 * are in order.
 */
function checkLog (
  t: Test,
  topic: string,
  log: readonly Published[],
  acknowledged: readonly Published[],
  publishers: readonly StubbornPublisher[]
): void {
  const sorted = (events: readonly Published[]): string[] => events.map(({ id, data }) => `${id} ${data}`).sort()
  t.same(sorted(log.slice(0, -1)), sorted(acknowledged), `topic ${topic}: it contains exactly the acknowledged events`)
  const numbers = log.map(({ id }) => Number(id.split('-')[1]))
  t.same(numbers, [...new Set(numbers)].toSorted((a, b) => a - b), `topic ${topic}: numbers increase`)
  for (const { name } of publishers) {
    const counts = log.filter(({ data }) => data.startsWith(`${topic} ${name} `))
      .map(({ data }) => Number(data.split(' ')[2]))
    t.same(counts, counts.toSorted((a, b) => a - b), `topic ${topic}: the events of ${name} are in order`)
  }
}

function checkClient (t: Test, name: string, topic: string, log: readonly Published[], client: ExactClient): void {
  const events = client.events.filter(({ data }) => data.startsWith(`${topic} `))
  t.same(events.map(({ data }) => data), log.map(({ data }) => data), `${name}: every event, once and in order`)
  if (client.topics.length === 1) {
    t.same(events.map(({ cursor }) => cursor), log.map(({ id }) => id), `${name}: every id`)
  }
}
