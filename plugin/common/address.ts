import { normalizeIP } from '@fastify/rate-limit'

/** What the clients of a Unix socket count as, all together: they have no address. So has one that left before it was asked for. */
const NO_ADDRESS = 'unix'

/**
 * As what a client counts, from its `request.ip`, which is undefined where there is none whatever its type says. IPv6
 * addresses count by their /64, of which one subscriber has all.
 */
export function addressOf (ip: string | undefined): string {
  return ip === undefined ? NO_ADDRESS : normalizeIP(ip)
}
