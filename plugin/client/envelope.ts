import type { Published } from './events.ts'
import type { WireMessage } from './connection/transport.ts'

/**
 * The topic, id and data of an event: from its envelope if it has one, otherwise from the message and the topics of the
 * connection. A server without support for `envelope` sends the data unchanged.
 */
export function publishedOf (
  { event, data }: WireMessage,
  cursor: string,
  topics: readonly string[],
  isEnveloped: boolean
): Published {
  const inside = isEnveloped ? parseEnvelope(data, topics) : undefined
  if (inside) return { ...inside, lastEventId: cursor }
  return { event, data, topic: topics.length === 1 ? topics[0] : undefined, id: cursor, lastEventId: cursor }
}

function parseEnvelope (text: string, topics: readonly string[]): Omit<Published, 'lastEventId'> | undefined {
  try {
    const { topic, id, event, data } = JSON.parse(text) as Record<string, unknown>
    const isEnvelope = topics.includes(topic as string) && [id, event, data].every(field => typeof field === 'string')
    return isEnvelope
      ? { topic: topic as string, id: id as string, event: event as string, data: data as string }
      : undefined
  } catch {
    return undefined
  }
}
