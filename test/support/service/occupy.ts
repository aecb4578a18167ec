import type { IncomingMessage, ServerResponse } from 'node:http'
import { get } from '../clients/client.ts'
import { until } from '../until.ts'
import type { TestService } from './service-app.ts'

/**
 * Sends a request on a connection on which another response is open, and waits until there is room for its response,
 * which is not sent before the other one has ended. A request that the test makes meanwhile could be the one for which
 * there is room.
 */
export async function occupy (service: TestService, send: (request: string) => void, path: string): Promise<void> {
  let response: ServerResponse | undefined
  service.app.server.once('request', (_request: IncomingMessage, waiting: ServerResponse) => { response = waiting })
  send(get(path))
  await until(() => response?.headersSent === true)
}
