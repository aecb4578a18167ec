import type { Test } from 'tap'
import { open } from './client.ts'
import { call } from './service-app.ts'
import type { StubbornPublisher } from './stubborn-publisher.ts'

/** The last event of a topic; what is published begins with its topic, as that of a `StubbornPublisher`. */
const END = 'end'

/** What is compared of a client. */
export interface ExactClient {
  topics: readonly string[]
  /** In the order in which they came. `cursor` is the id of the event, where the client has one topic only. */
  events: { cursor: string, data: string }[]
  gaps: readonly unknown[]
  refusals: readonly unknown[]
  /** Settles when all of these have come. */
  untilData: (wanted: readonly string[]) => Promise<void>
}

interface Published { id: string, data: string }

/**
 * Ends a run and compares all there is: what publishers were told, what the log holds, what clients received. Publishers
 * and clients must have been there from the first event on. Settles when all is compared.
 */
export async function checkExactness (t: Test, origin: string, topics: readonly string[], publishers: readonly StubbornPublisher[], clients: readonly ExactClient[]): Promise<void> {
  await Promise.all(publishers.map(publisher => publisher.stop()))
  for (const topic of topics) {
    const { status } = await call(`${origin}/topics/${topic}/events`, { method: 'POST', body: `${topic} ${END}`, type: 'text/plain' })
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
    t.same(client.refusals, [], 'never refused')
  }
}

async function readLog (t: Test, origin: string, topic: string): Promise<Published[]> {
  const { inbox, close } = await open(t, `${origin}/events?topic=${topic}&lastEventId=0-0`)
  const text = await inbox.until(`data: ${topic} ${END}\n`)
  close()
  return [...text.matchAll(/^id: (\S+)\ndata: (.*)$/gm)].map(([, id, data]) => ({ id: id!, data: data! }))
}

/** Each acknowledged event stands in the log once and under its id, nothing else does, and each publisher's are in order. */
function checkLog (t: Test, topic: string, log: readonly Published[], acknowledged: readonly Published[], publishers: readonly StubbornPublisher[]): void {
  const sorted = (events: readonly Published[]): string[] => events.map(({ id, data }) => `${id} ${data}`).sort()
  t.same(sorted(log.slice(0, -1)), sorted(acknowledged), `topic ${topic}: what was acknowledged is what is there`)
  const numbers = log.map(({ id }) => Number(id.split('-')[1]))
  t.same(numbers, [...new Set(numbers)].toSorted((a, b) => a - b), `topic ${topic}: numbers rise`)
  for (const { name } of publishers) {
    const counts = log.filter(({ data }) => data.startsWith(`${topic} ${name} `)).map(({ data }) => Number(data.split(' ')[2]))
    t.same(counts, counts.toSorted((a, b) => a - b), `topic ${topic}: what ${name} published is in order`)
  }
}

function checkClient (t: Test, name: string, topic: string, log: readonly Published[], client: ExactClient): void {
  const events = client.events.filter(({ data }) => data.startsWith(`${topic} `))
  t.same(events.map(({ data }) => data), log.map(({ data }) => data), `${name}: every event, once and in order`)
  if (client.topics.length === 1) t.same(events.map(({ cursor }) => cursor), log.map(({ id }) => id), `${name}: every id`)
}
