import type { AddressInfo } from 'node:net'
import type { ServiceConfig } from './config.ts'

/** What the command says when it listens: where, where the events are, and two commands to try it with. */
export function createBanner ({ address, port }: Pick<AddressInfo, 'address' | 'port'>, { tlsCert }: Pick<ServiceConfig, 'tlsCert'>, where: string): string {
  const url = `${tlsCert === undefined ? 'http' : 'https'}://${address.includes(':') ? `[${address}]` : address}:${port}`
  return [
    '',
    `resumable-sse listens on ${url} (${where})`,
    '',
    '  Listen:   ' + `curl -N '${url}/events?topic=news'`,
    '  Publish:  ' + `curl '${url}/topics/news/events' -H 'content-type: application/json' -d '{"data":"hello"}'`,
    '', ''
  ].join('\n')
}
