import { basename, dirname, relative } from 'node:path'
import type { AddressInfo } from 'node:net'
import { isFrom, toBlockList } from 'fastify-resumable-sse/auth'
import type { ServiceConfig } from '../config/config.ts'

type Place = Pick<AddressInfo, 'address' | 'port'>

/** The part of the configuration that a client must know. */
type Access = Pick<
  ServiceConfig,
  'tlsCert' | 'allowedHosts' | 'jwtSecret' | 'jwtPublicKey' | 'jwksUrl' | 'proxyHeader' | 'proxyFrom'
>

/**
 * What the message needs besides the address: where events are kept, and the file that runs, as it was passed to Node.
 */
interface Said { where: string, file: string }

/**
 * The message printed once the command listens: the address, where events are kept, and two commands that can be run on
 * this machine unchanged.
 */
export function createBanner (place: Place, access: Access, { where, file }: Said): string {
  return [
    '',
    `resumable-sse listens on ${originOf(place, access)} (${where})`,
    '',
    ...howToTry(place, access, file),
    '',
    ''
  ].join('\n')
}

function originOf ({ address, port }: Place, { tlsCert }: Access): string {
  return `${tlsCert === undefined ? 'http' : 'https'}://${address.includes(':') ? `[${address}]` : address}:${port}`
}

/** The loopback address to use for a server that listens on all addresses. */
const LOOPBACK: Partial<Record<string, string>> = { '0.0.0.0': '127.0.0.1', '::': '::1' }

function howToTry ({ address, port }: Place, access: Access, file: string): string[] {
  const isEverywhere = LOOPBACK[address] !== undefined
  const origin = originOf({ address: isEverywhere ? 'localhost' : address, port }, access)
  const { hints, options } = credentials(access, LOOPBACK[address] ?? address, file)
  if (options === undefined) return hints
  const more = [...tls(access), ...host(origin, access), ...options].map(option => ` ${option}`).join('')
  return [
    ...hints,
    `  Listen:   curl -N '${origin}/events?topic=news'${more}`,
    `  Publish:  curl '${origin}/topics/news/events'${more} -H 'content-type: application/json' -d '{"data":"hello"}'`
  ]
}

/** The certificate is issued for the name that clients use, and curl may not trust its issuer. */
const tls = ({ tlsCert }: Access): string[] => tlsCert === undefined ? [] : ['-k']

/** A `Host` that the service accepts, when it does not accept the name of this machine. */
function host (origin: string, { allowedHosts }: Access): string[] {
  const { host, hostname } = new URL(origin)
  const isServed =
    allowedHosts === undefined || allowedHosts.some(allowed => [host, hostname].includes(allowed.toLowerCase()))
  return isServed ? [] : [`-H ${quote(`Host: ${allowedHosts[0]}`)}`]
}

/**
 * The options that the commands need, and the hints printed above them; no options if commands cannot connect from this
 * machine.
 */
function credentials (
  { jwtSecret, jwtPublicKey, jwksUrl, proxyHeader, proxyFrom }: Access,
  from: string,
  file: string
): { hints: string[], options: string[] | undefined } {
  const options = ['-H "Authorization: Bearer $TOKEN"']
  if (jwtSecret !== undefined) {
    return {
      hints: [
        '  In a terminal where JWT_SECRET and any other JWT_… variables are set:',
        `  Token:    TOKEN=$(${programOf(file)} token --subscribe news --publish news)`
      ],
      options
    }
  }
  if (jwtPublicKey !== undefined || jwksUrl !== undefined) {
    return {
      hints: ['  With a token from your issuer in TOKEN that allows subscribing and publishing to news:'],
      options
    }
  }
  if (proxyHeader === undefined) return { hints: [], options: [] }
  if (isFrom(toBlockList(proxyFrom!), from)) return { hints: [], options: [`-H ${quote(`${proxyHeader}: me`)}`] }
  return {
    hints: [
      '  Listen and publish through the proxy that sets ' +
        `${proxyHeader} (PROXY_FROM): requests from this machine are rejected.`
    ],
    options: undefined
  }
}

/** A header name may contain a quote. */
const quote = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`

/** How to call this program: by its file, with npx if it is a dependency or npx runs it, otherwise by its name. */
function programOf (file: string): string {
  if (file.endsWith('.js')) return `node ${relative('', file)}`
  return basename(dirname(file)) === '.bin' ? `npx ${basename(file)}` : basename(file)
}
