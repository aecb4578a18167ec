import { defineError } from '../common/define-error.ts'

/** All errors of the adapters for AI streams. The `code` and the HTTP status are API; the message is not. */
export const errors = {
  /** The producer of the stream failed or died; the reader has received everything that was stored. */
  AI_STREAM_INCOMPLETE: defineError('AI_STREAM_INCOMPLETE', 'stream "%s" is incomplete: %s', 502),
  /** The stream to be read or continued does not exist. */
  AI_STREAM_MISSING: defineError('AI_STREAM_MISSING', 'there is no stream "%s"', 404),
  /** The position is not valid for this stream. */
  AI_BAD_OFFSET: defineError('AI_BAD_OFFSET', 'offset must be %s, saw %s', 400)
} as const

/** The `code` of an error of these adapters. */
export type AiErrorCode = keyof typeof errors
