import cluster from 'node:cluster'
import type { AddressInfo } from 'node:net'
import type { Writable } from 'node:stream'
import type { Server } from 'node:tls'
import type { FastifyInstance } from 'fastify'
import { createBanner } from './banner.ts'
import type { ServiceConfig } from '../config/config.ts'
import { buildService } from '../index.ts'
import { describeLog } from '../log.ts'
import { logLibraryOutput } from './library-output.ts'
import { stopOnSignals, stopWhenTold } from './signals.ts'
import { renewOnSignal } from '../http/tls.ts'
import { runWorkers } from './workers.ts'

/** Runs the service, in one process or in several; settles when it listens. The process ends by its signals. */
export async function serve (config: ServiceConfig, stderr: Writable): Promise<void> {
  const tell = (at: Pick<AddressInfo, 'address' | 'port'>): void => { stderr.write(createBanner(at, config, { where: describeLog(config), file: process.argv[1]! })) }
  if (cluster.isPrimary && config.workers > 1) {
    const address = await runWorkers(config)
    tell(address)
    return
  }
  const app = await buildService(config)
  logLibraryOutput(app.log)
  // One that fails is a bug: Node tells it and exits with 1.
  const stop = (): void => { void app.drain().then(() => process.exit(0)) }
  if (cluster.isWorker) stopWhenTold(stop)
  else stopOnSignals(stop)
  renewOnSignal(config, app.server as unknown as Server, app.log)
  await app.listen({ host: config.host, port: config.port })
  if (cluster.isPrimary) tell(addressOf(app))
}

function addressOf (app: FastifyInstance): AddressInfo {
  return app.server.address() as AddressInfo
}
