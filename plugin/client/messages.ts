import type { EndDetail, ErrorDetail, ExpiringDetail, GapDetail } from './events.ts'

/** Client errors that may pass: request timeout, too early, too many requests. */
const TEMPORARY = [408, 425, 429]

/** True for the status of a failure that another try may mend. */
export function isTemporary (status: number): boolean {
  return status >= 500 || TEMPORARY.includes(status)
}

/** The data of a `stream.*` event; undefined when it cannot be read. */
export function parseDetail (data: string): (ErrorDetail & EndDetail & ExpiringDetail & GapDetail) | undefined {
  try {
    return JSON.parse(data || '{}') as ReturnType<typeof parseDetail>
  } catch {
    return undefined
  }
}

/** What to tell people of whatever was thrown. */
export function messageOf (cause: unknown): string {
  return cause instanceof Error ? cause.message : cause === undefined ? 'the connection was lost' : String(cause)
}
