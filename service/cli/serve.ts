import cluster from 'node:cluster'
import { lookup } from 'node:dns/promises'
import type { AddressInfo } from 'node:net'
import type { Writable } from 'node:stream'
import type { Server } from 'node:tls'
import type { FastifyInstance } from 'fastify'
import { createBanner } from './banner.ts'
import type { ServiceConfig } from '../config/config.ts'
import { buildService } from '../index.ts'
import { describeLog } from '../log.ts'
import { logLibraryOutput } from './library-output.ts'
import { stopOnSignals, stopOnMessage } from './signals.ts'
import { renewOnSignal } from '../http/connections/tls.ts'
import { runWorkers } from './workers.ts'

/**
 * Maximum number of connections that wait to be accepted; the system may allow fewer (`net.core.somaxconn`, 4,096 on
 * Linux). With Node's default of 511, most clients would be dropped when thousands of them reconnect within a second.
 */
const BACKLOG = 4_096

/** Runs the service, in one process or in several; resolves when it listens. The process ends on a signal. */
export async function serve (config: ServiceConfig, stderr: Writable): Promise<void> {
  const announce = (at: Pick<AddressInfo, 'address' | 'port'>): void => {
    stderr.write(createBanner(at, config, { where: describeLog(config), file: process.argv[1]! }))
  }
  if (cluster.isPrimary && config.workers > 1) return announce(await runWorkers(config))
  const app = await buildService(config)
  logLibraryOutput(app.log)
  renewOnSignal(config, app.server as unknown as Server, app.log)
  await listen(app, config)
  // A drain that fails is a bug: Node reports it and exits with 1.
  const stop = (): void => { void app.drain().then(() => process.exit(0)) }
  const init = { isHangup: config.tlsCert === undefined }
  if (cluster.isWorker) stopOnMessage(stop, init)
  else stopOnSignals(stop, init)
  if (cluster.isPrimary) announce(addressOf(app))
}

/**
 * Listens on a single address. For the name `localhost` Fastify would create a server for each of its addresses, and
 * limits and timeouts are those of the first one only.
 */
export async function listen (app: FastifyInstance, { host, port }: ServiceConfig): Promise<void> {
  const { address } = await lookup(host)
  await app.listen({ host: address, port, backlog: BACKLOG })
}

function addressOf (app: FastifyInstance): AddressInfo {
  return app.server.address() as AddressInfo
}
