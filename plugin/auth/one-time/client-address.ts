import { normalizeIP } from '@fastify/rate-limit'

/**
 * Clients of a Unix socket have no address and count as one client; so does a client that disconnected before its
 * address was read.
 */
const NO_ADDRESS = 'unix'

/**
 * The address under which a client is counted, from its `request.ip`, which may be undefined although its type says
 * otherwise. IPv6 addresses are counted by their /64 prefix, because one subscriber usually has all of it.
 */
export function addressOf (ip: string | undefined): string {
  return ip === undefined ? NO_ADDRESS : normalizeIP(ip)
}
