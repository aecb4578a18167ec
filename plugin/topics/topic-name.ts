import { show } from '../common/show.ts'
import { errors } from './errors.ts'
import { MAX_CURSOR_TOPICS, topicTag } from './ids/cursor.ts'

/**
 * The allowed topic names, as a regular expression. No braces, because a Redis key puts the topic into a hash tag. No
 * wildcards, because those belong to patterns.
 */
export const TOPIC_PATTERN = '^[A-Za-z0-9][A-Za-z0-9._~:@/\\-]{0,199}$'
const TOPIC = new RegExp(TOPIC_PATTERN)

/** Checks one topic name and returns it. Throws `TOPICS_BAD_TOPIC`. */
export function checkTopic (topic: unknown): string {
  if (typeof topic !== 'string' || !TOPIC.test(topic)) throw new errors.TOPICS_BAD_TOPIC(show(topic))
  return topic
}

/**
 * Checks the topics of one connection, and returns them sorted and without duplicates. Throws `TOPICS_BAD_TOPIC`,
 * `TOPICS_BAD_TOPIC_COUNT` or `TOPICS_SAME_TAG`.
 */
export function checkTopics (topics: unknown): string[] {
  const given = Array.isArray(topics) ? topics : [topics]
  const sorted = [...new Set(given.map(checkTopic))].sort()
  if (sorted.length === 0 || sorted.length > MAX_CURSOR_TOPICS) {
    throw new errors.TOPICS_BAD_TOPIC_COUNT(MAX_CURSOR_TOPICS, sorted.length)
  }
  if (sorted.length > 1) refuseSameTags(sorted)
  return sorted
}

/** A cursor identifies topics by their tags: with two equal tags a client could not resume. */
function refuseSameTags (topics: readonly string[]): void {
  const byTag = new Map<string, string>()
  for (const topic of topics) {
    const tag = topicTag(topic)
    const other = byTag.get(tag)
    if (other !== undefined) throw new errors.TOPICS_SAME_TAG(other, topic)
    byTag.set(tag, topic)
  }
}
