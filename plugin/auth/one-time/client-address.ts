import { normalizeIP } from '@fastify/rate-limit'

/**
 * Clients of a Unix socket have no address and count as one; so does a client that has left before it was asked for.
 */
const NO_ADDRESS = 'unix'

/**
 * The address that a client counts as, from its `request.ip`, which is undefined where there is none although its type
 * says otherwise. IPv6 addresses count by their /64, because one subscriber has all of it.
 */
export function addressOf (ip: string | undefined): string {
  return ip === undefined ? NO_ADDRESS : normalizeIP(ip)
}
