import { errors } from '../errors.ts'

/** Why an append was rejected because of the state of its topic. */
export type AppendRefusal = 'reused' | 'superseded' | 'closed'

/** The error of an append that was rejected. */
export function appendError (refusal: AppendRefusal, topic: string, idempotencyKey: string | undefined): Error {
  switch (refusal) {
    case 'reused': return new errors.TOPICS_IDEMPOTENCY_KEY_REUSED(idempotencyKey, topic)
    case 'superseded': return new errors.TOPICS_LEASE_LOST(topic)
    case 'closed': return new errors.TOPICS_CLOSED(topic)
  }
}
