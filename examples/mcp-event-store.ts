// An `EventStore` over topics for servers of the Model Context Protocol with sessions (versions up to 2025-11-25): pass
// it to `StreamableHTTPServerTransport` as `eventStore`. The version of July 2026 no longer supports resumption.
import type { Topics } from 'fastify-resumable-sse/topics'

/** The interface that the SDK expects. `Message` is its `JSONRPCMessage`. */
export interface EventStore<Message> {
  storeEvent: (streamId: string, message: Message) => Promise<string>
  getStreamIdForEventId: (eventId: string) => Promise<string | undefined>
  replayEventsAfter: (
    lastEventId: string,
    options: { send: (eventId: string, message: Message) => Promise<void> }
  ) => Promise<string>
}

/** The ids of events contain their stream: `<ms>-<n>_<streamId>`. */
const EVENT_ID = /^(\d+-\d+)_(.+)$/

/** Each stream is a topic; set `expireAfterMs` of its retention to the lifetime of a session. */
export function createEventStore<Message> (topics: Topics, prefix = 'mcp/'): EventStore<Message> {
  const parse = (eventId: string): { id: string, streamId: string } | undefined => {
    const [, id, streamId] = EVENT_ID.exec(eventId) ?? []
    return id === undefined || streamId === undefined ? undefined : { id, streamId }
  }
  return {
    async storeEvent (streamId, message) {
      const { ids: [id] } = await topics.publish(prefix + streamId, { data: JSON.stringify(message) })
      return `${id}_${streamId}`
    },
    getStreamIdForEventId: async eventId => parse(eventId)?.streamId,
    async replayEventsAfter (lastEventId, { send }) {
      const { id, streamId } = parse(lastEventId) ?? {}
      if (id === undefined || streamId === undefined) throw new Error('not an event id of this store')
      for (let after = id; ;) {
        const { events, cursor, gap } = await topics.read(prefix + streamId, { after, limit: 1_000 })
        if (gap) throw new Error(`events of the stream are missing (${gap.reason})`)
        for (const event of events) await send(`${event.id}_${streamId}`, JSON.parse(event.data) as Message)
        if (events.length === 0) return streamId
        after = cursor
      }
    }
  }
}
