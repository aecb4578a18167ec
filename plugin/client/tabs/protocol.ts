import type { ErrorDetail, ExpiringDetail, GapDetail, Published } from '../events.ts'
import type { Position } from './position.ts'

/** Messages between tabs over a BroadcastChannel. All of them can be cloned. */
export type TabMessage =
  /** A new leader: all others join it, and ignore the messages of any other leader. */
  | { readonly kind: 'lead', readonly leader: string }
  /** To the leader: the sender's name, what it wants, and its positions. */
  | {
    readonly kind: 'join'
    readonly member: string
    readonly topics: readonly string[]
    readonly positions: ReadonlyMap<string, Position>
  }
  /** The sender has left. If it was the leader, those that followed it join again. */
  | { readonly kind: 'leave', readonly member: string }
  /** To the leader: answer, so that the sender knows that your page is not suspended. */
  | { readonly kind: 'ask' }
  /** Sent only by the leader. */
  | LeaderMessage & { readonly leader: string }

export type LeaderMessage =
  | { readonly kind: 'alive' }
  /** The stream is open, from positions that suit these members. Of the topics `repeated` it may send older events. */
  | {
    readonly kind: 'open'
    readonly positions: ReadonlyMap<string, Position>
    readonly members: readonly string[]
    readonly repeated?: readonly string[]
  }
  | { readonly kind: 'interrupted' }
  | { readonly kind: 'published', readonly event: Published, readonly position: Position | undefined }
  /** Sent as soon as the positions after the gap are known. */
  | { readonly kind: 'gap', readonly detail: GapDetail, readonly positions: ReadonlyMap<string, Position> }
  | { readonly kind: 'end', readonly topic: string, readonly reason: string }
  /** The server responded with 204: nothing remains for these members. */
  | { readonly kind: 'finished', readonly members: readonly string[] }
  | { readonly kind: 'expiring', readonly detail: ExpiringDetail }
  /** For these members, or for all. */
  | { readonly kind: 'failed', readonly detail: Omit<ErrorDetail, 'cause'>, readonly members?: readonly string[] }

type Fields = Readonly<Record<string, unknown>>

const isText = (value: unknown): value is string => typeof value === 'string'
const isTexts = (value: unknown): boolean => Array.isArray(value) && value.every(isText)
const isTextOrNull = (value: unknown): boolean => value === null || isText(value)
const isFields = (value: unknown): value is Fields => typeof value === 'object' && value !== null
const isPosition = (value: unknown): boolean =>
  isFields(value) && typeof value['ms'] === 'number' && typeof value['n'] === 'number'
const arePositions = (value: unknown): boolean => value instanceof Map && [...value.values()].every(isPosition)
const isGap = (value: unknown): boolean =>
  isFields(value) && isTextOrNull(value['after']) && isTextOrNull(value['resumedAt'])
const isPublished = (value: unknown): boolean =>
  isFields(value) && ['id', 'event', 'data'].every(name => isText(value[name]))

/** Checks of the fields that are read, by kind of message. */
const CHECKS: ReadonlyMap<unknown, (message: Fields) => boolean> = new Map([
  ['lead', ({ leader }: Fields) => isText(leader)],
  ['join', ({ member, topics, positions }) => isText(member) && isTexts(topics) && arePositions(positions)],
  ['leave', ({ member }) => isText(member)],
  ['ask', () => true],
  ['alive', () => true],
  ['open', ({ positions, members, repeated = [] }) => arePositions(positions) && isTexts(members) && isTexts(repeated)],
  ['interrupted', () => true],
  ['published', ({ event, position }) => isPublished(event) && (position === undefined || isPosition(position))],
  ['gap', ({ detail, positions }) => isGap(detail) && arePositions(positions)],
  ['end', ({ topic, reason }) => isText(topic) && isText(reason)],
  ['finished', ({ members }) => isTexts(members)],
  ['expiring', ({ detail }) => isFields(detail)],
  ['failed', ({ detail, members }) => isFields(detail) && (members === undefined || isTexts(members))]
])

/**
 * False for anything else on the channel, such as a message of a tab with another version of this client: an error
 * while reading one message would keep the leader from admitting any tab from then on.
 */
export function isTabMessage (data: unknown): data is TabMessage {
  return isFields(data) && CHECKS.get(data['kind'])?.(data) === true
}
