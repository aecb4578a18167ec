import { parseEventId } from '../../ids/event-id.ts'
import type { EndReason, LeaseReply, LeaseRequest } from '../lease.ts'
import type { Location, LogEntry, Skip } from '../topic-log.ts'
import { toLogEntry } from './redis-entry.ts'
import type { LeaseScriptReply, LocateReply } from './scripts/redis-scripts.ts'

/** Undefined for entries that another program wrote, with ids or fields of its own. */
export function toEntry (idText: string, fields: readonly string[]): LogEntry[] {
  const id = parseEventId(idText)
  const values = new Map<string, string>()
  for (let at = 0; at < fields.length; at += 2) values.set(fields[at]!, fields[at + 1]!)
  const data = values.get('data')
  if (!id || id.n === 0 || data === undefined) return []
  return [toLogEntry(id, { data, event: values.get('event'), retry: values.get('retry') })]
}

/** Converts the reply of `locate.lua`. */
export function toLocation (reply: LocateReply): Location {
  const [ms, n, born, closed, skips, count, first, found, past, now, reason, message, until, expire] = reply
  return {
    ends: {
      first: parseEventId(first),
      last: { ms: Number(ms), n: Number(n) },
      count,
      bornMs: Number(born),
      forgottenMs: Number(past),
      expireAfterMs: Number(expire),
      nowMs: Number(now),
      isClosed: closed === 1,
      reason: closed === 1 ? (reason || 'closed') as EndReason : undefined,
      message: message || undefined,
      leaseMs: until === '0' ? undefined : Math.max(0, Number(until) - Number(now)),
      skips: toSkips(skips)
    },
    exists: found === 1
  }
}

/** `<ms>-<n>:<next number>`, joined by commas. */
function toSkips (text: string): Skip[] {
  return text.split(',').flatMap(part => {
    const [from, to] = part.split(':')
    const id = parseEventId(from!)
    return id ? [{ from: id, to: Number(to) }] : []
  })
}

/** The arguments of `lease.lua` for a request. */
export function leaseArgs (request: LeaseRequest): (string | number)[] {
  if (request.do === 'take') {
    const { holder, leaseMs, takeOver, resumeAfter, ttlMs } = request
    return ['take', holder, leaseMs, takeOver ? 1 : 0, resumeAfter ?? '', ttlMs ?? '']
  }
  if (request.do === 'restore') {
    const { fence, holder, leaseMs, accepted, ttlMs } = request
    return ['restore', fence, holder, leaseMs, accepted, ttlMs ?? '']
  }
  if (request.do === 'renew') return ['renew', request.fence]
  if (request.do === 'end') return ['end', request.fence, request.reason, request.message]
  return request.do === 'stop' ? ['stop', request.fence ?? ''] : ['look']
}

/** Converts the reply of `lease.lua`. */
export function toLeaseReply ([
  outcome,
  fence,
  holder,
  remaining,
  accepted,
  mustStop,
  closed,
  reason,
  message,
  leaseMs
]: LeaseScriptReply): LeaseReply {
  return {
    outcome,
    isClosed: closed === 1,
    reason: closed === 1 ? (reason || 'closed') as EndReason : undefined,
    message: message || undefined,
    fence: Number(fence),
    holder,
    leaseMs: Number(leaseMs),
    remainingMs: Number(remaining),
    accepted: Number(accepted),
    mustStop: mustStop === 1
  }
}
