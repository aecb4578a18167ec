import { basename, relative } from 'node:path'
import type { AddressInfo } from 'node:net'
import { isFrom, toBlockList } from 'fastify-resumable-sse/auth'
import type { ServiceConfig } from '../config/config.ts'

type Place = Pick<AddressInfo, 'address' | 'port'>

/** What of the configuration a client has to know. */
type Access = Pick<
  ServiceConfig,
  'tlsCert' | 'allowedHosts' | 'jwtSecret' | 'jwtPublicKey' | 'jwksUrl' | 'proxyHeader' | 'proxyFrom'
>

/** What is said beyond the place: where the events are, and the file that runs, as Node was given it. */
interface Said { where: string, file: string }

/**
 * What the command says when it listens: where, where the events are, and two commands that work on this machine as
 * they stand.
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

/** By the address of this machine for itself, as that of a connection to all of its addresses. */
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

/** The certificate is for the name that clients use, and curl may not know who signed it. */
const tls = ({ tlsCert }: Access): string[] => tlsCert === undefined ? [] : ['-k']

/** The name of the service, where this machine's own is none that is served. */
function host (origin: string, { allowedHosts }: Access): string[] {
  const { host, hostname } = new URL(origin)
  const isServed =
    allowedHosts === undefined || allowedHosts.some(allowed => [host, hostname].includes(allowed.toLowerCase()))
  return isServed ? [] : [`-H ${quote(`Host: ${allowedHosts[0]}`)}`]
}

/**
 * What a command has to bring, and what is said of it above; no options where no command from this machine may come in.
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
        '  In a terminal with JWT_SECRET, and what else is set of JWT_…:',
        `  Token:    TOKEN=$(${programOf(file)} token --subscribe news --publish news)`
      ],
      options
    }
  }
  if (jwtPublicKey !== undefined || jwksUrl !== undefined) {
    return { hints: ['  With a token of your issuer in TOKEN, to subscribe and publish to news:'], options }
  }
  if (proxyHeader === undefined) return { hints: [], options: [] }
  if (isFrom(toBlockList(proxyFrom!), from)) return { hints: [], options: [`-H ${quote(`${proxyHeader}: me`)}`] }
  return {
    hints: [
      `  Listen and publish through the proxy that sets ${proxyHeader} (PROXY_FROM): requests from this machine are refused.`
    ],
    options: undefined
  }
}

/** A header's name may hold a quote. */
const quote = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`

/** How this program is called: by its name where it is installed, else as the file that it is. */
function programOf (file: string): string {
  return file.endsWith('.js') ? `node ${relative('', file)}` : basename(file)
}
