import { BlockList, isIP } from 'node:net'
import type { FastifyRequest } from 'fastify'
import { errors } from '../reply/errors.ts'
import { checkGrantInit, isSubject } from './grant-init.ts'
import type { GrantInit } from './grant.ts'
import { readOnce } from './source.ts'
import type { Source } from './source.ts'

/** A header with the subject, set by a proxy that authenticates; it must delete the header from what clients send. */
export interface ProxyOptions {
  /** Name of the header, such as `x-user`. */
  header: string
  /** Addresses and CIDR blocks from which it counts; from anywhere else it is ignored. */
  from: readonly string[]
  /** What the subject may do; null refuses. Default: what `subscribe` and `publish` say. */
  verify?: (subject: string, request: FastifyRequest) => GrantInit | null | Promise<GrantInit | null>
  /** Patterns of topics for every subject. Default: the route decides. */
  subscribe?: readonly string[]
  publish?: readonly string[]
  /**
   * Without `verify`: how long a grant lasts, in ms; the proxy is asked again by the next request. Default 3,600,000: whoever
   * was signed out there listens for no longer.
   */
  maxLifetimeMs?: number
}

export const PROXY_LIFETIME_MS = 3_600_000

/** The header as a source. It counts by the address of the socket, whatever `X-Forwarded-For` says. */
export function proxySource (options: ProxyOptions): Source {
  const header = options.header.toLowerCase()
  const trusted = toBlockList(options.from)
  return {
    kind: 'proxy',
    sender: 'browser',
    isAskedAgain: options.verify !== undefined,
    isSelfContained: false,
    read: request => isFrom(trusted, request.raw.socket.remoteAddress) ? decode(readOnce(request, header)) : undefined,
    async verify (subject, request) {
      if (!isSubject(subject)) return null
      if (options.verify === undefined) return { subject, subscribe: options.subscribe, publish: options.publish, expiresAtMs: Date.now() + (options.maxLifetimeMs ?? PROXY_LIFETIME_MS) }
      const init = await options.verify(subject, request)
      return init === null ? null : checkGrantInit('proxy.verify', init)
    }
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true })

/** Node reads header bytes as latin1; proxies send UTF-8. Throws 401 for anything else: two subjects must not become one. */
function decode (value: string | undefined): string | undefined {
  if (value === undefined) return undefined
  try {
    return utf8.decode(Buffer.from(value, 'latin1'))
  } catch (cause) {
    throw new errors.FST_SSE_UNAUTHORIZED('the header of the proxy is not UTF-8: let the proxy send the subject as UTF-8', { cause })
  }
}

/** True for an address, or an address with the length of a prefix behind a slash. */
export function isNetwork (text: unknown): boolean {
  if (typeof text !== 'string') return false
  const [address = '', bits, ...rest] = text.split('/')
  const version = isIP(address)
  if (version === 0 || rest.length > 0) return false
  return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (version === 4 ? 32 : 128))
}

/** Addresses and CIDR blocks, as `isNetwork` takes them. */
export function toBlockList (networks: readonly string[]): BlockList {
  const list = new BlockList()
  for (const network of networks) {
    const [address = '', bits] = network.split('/')
    const family = isIP(address) === 4 ? 'ipv4' : 'ipv6'
    if (bits === undefined) list.addAddress(address, family)
    else list.addSubnet(address, Number(bits), family)
  }
  return list
}

/** A server on `::` sees IPv4 as `::ffff:a.b.c.d`, which BlockList knows. A Unix socket has no address, and is not trusted. */
export function isFrom (trusted: BlockList, address = ''): boolean {
  const version = isIP(address)
  return version !== 0 && trusted.check(address, version === 4 ? 'ipv4' : 'ipv6')
}
