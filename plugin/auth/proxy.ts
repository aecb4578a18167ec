import { BlockList, isIP } from 'node:net'
import type { FastifyRequest } from 'fastify'
import { errors } from './errors.ts'
import { checkGrantInit, isSubject } from './grants/grant-init.ts'
import type { GrantInit } from './grants/grant.ts'
import { readOnce } from './credentials/credential.ts'
import type { CredentialSource } from './credentials/credential.ts'

/**
 * A header with the subject, set by an authenticating proxy; the proxy must delete the header from requests of clients.
 */
export interface ProxyOptions {
  /** Name of the header, such as `x-user`. */
  header: string
  /** Addresses and CIDR blocks from which it is accepted; from any other address it is ignored. */
  from: readonly string[]
  /** Returns what the subject may do; null rejects the request. Default: the rights in `subscribe` and `publish`. */
  verify?: (subject: string, request: FastifyRequest) => GrantInit | null | Promise<GrantInit | null>
  /** Patterns of topics for every subject. Default: the route decides. */
  subscribe?: readonly string[]
  publish?: readonly string[]
  /**
   * Without `verify`: how long a grant lasts, in ms; the next request passes through the proxy again. Default
   * 3,600,000: a user who has signed out at the proxy loses the stream after that time.
   */
  maxLifetimeMs?: number
}

export const PROXY_LIFETIME_MS = 3_600_000

/** Finds the header. Only the address of the socket decides whether it is trusted, regardless of `X-Forwarded-For`. */
export function proxySource (options: ProxyOptions): CredentialSource {
  const header = options.header.toLowerCase()
  const trusted = toBlockList(options.from)
  return {
    kind: 'proxy',
    find (request) {
      if (!isFrom(trusted, request.raw.socket.remoteAddress)) return undefined
      const subject = decode(readOnce(request, header))
      if (subject === undefined) return undefined
      return {
        kind: 'proxy',
        sender: 'browser',
        isAskedAgain: options.verify !== undefined,
        isSelfContained: false,
        async verify () {
          const grant = isSubject(subject) ? await grantOf(options, subject, request) : null
          return grant && { grant }
        }
      }
    }
  }
}

async function grantOf (options: ProxyOptions, subject: string, request: FastifyRequest): Promise<GrantInit | null> {
  const { verify, subscribe, publish, maxLifetimeMs = PROXY_LIFETIME_MS } = options
  if (verify !== undefined) return checkGrantInit('proxy.verify', await verify(subject, request))
  return { subject, subscribe, publish, expiresAtMs: Date.now() + maxLifetimeMs }
}

// Keeps a byte order mark, which would be dropped otherwise: "\ufeffalice" is not "alice".
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * Node reads header bytes as latin1; proxies send UTF-8. Throws 401 for anything else: two subjects must not become
 * one.
 */
function decode (value: string | undefined): string | undefined {
  if (value === undefined) return undefined
  try {
    return utf8.decode(Buffer.from(value, 'latin1'))
  } catch (cause) {
    const message = 'the header of the proxy is not UTF-8: let the proxy send the subject as UTF-8'
    throw new errors.FST_SSE_UNAUTHORIZED(message, { cause })
  }
}

/** True for an IP address, or a CIDR block. */
export function isNetwork (text: unknown): boolean {
  if (typeof text !== 'string') return false
  const [address = '', bits, ...rest] = text.split('/')
  const version = isIP(address)
  if (version === 0 || rest.length > 0) return false
  return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (version === 4 ? 32 : 128))
}

/** Addresses and CIDR blocks, as `isNetwork` accepts them. */
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

/**
 * A server that listens on `::` sees IPv4 addresses as `::ffff:a.b.c.d`, which BlockList understands. A Unix socket has
 * no address, and is not trusted.
 */
export function isFrom (trusted: BlockList, address = ''): boolean {
  const version = isIP(address)
  return version !== 0 && trusted.check(address, version === 4 ? 'ipv4' : 'ipv6')
}
