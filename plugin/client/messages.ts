import type { EndDetail, ErrorDetail, ExpiringDetail, GapDetail } from './events.ts'

export const NO_CONTENT = 204
export const UNAUTHORIZED = 401

/** Client errors that may be temporary: request timeout, too early, too many requests. */
const TEMPORARY = [408, 425, 429]

/** True for a status after which another attempt may succeed. */
export function isTemporary (status: number): boolean {
  return status >= 500 || TEMPORARY.includes(status)
}

/** The data of a `stream.*` event; undefined if it is not a JSON object. */
export function parseDetail (data: string): (ErrorDetail & EndDetail & ExpiringDetail & GapDetail) | undefined {
  try {
    const detail: unknown = JSON.parse(data || '{}')
    return detail instanceof Object ? detail as ReturnType<typeof parseDetail> : undefined
  } catch {
    return undefined
  }
}

/** The message of any thrown value, for users. */
export function messageOf (cause: unknown): string {
  return cause instanceof Error ? cause.message : cause === undefined ? 'the connection was lost' : String(cause)
}
