import cluster from 'node:cluster'
import type { AddressInfo } from 'node:net'
import type { Writable } from 'node:stream'
import type { Server } from 'node:tls'
import type { FastifyInstance } from 'fastify'
import { createBanner } from './banner.ts'
import type { ServiceConfig } from './config.ts'
import { buildService } from './index.ts'
import { describeLog } from './log.ts'
import { stopOnSignals, stopWhenTold } from './signals.ts'
import { renewOnSignal } from './tls.ts'
import { runWorkers } from './workers.ts'

/** Runs the service, in one process or in several; settles when it listens. The process ends by its signals. */
export async function serve (config: ServiceConfig, stderr: Writable): Promise<void> {
  if (cluster.isPrimary && config.workers > 1) {
    const address = await runWorkers(config)
    stderr.write(createBanner(address, config, describeLog(config)))
    return
  }
  const app = await buildService(config)
  // One that fails is a bug: Node tells it and exits with 1.
  const stop = (): void => { void app.drain().then(() => process.exit(0)) }
  if (cluster.isWorker) stopWhenTold(stop)
  else stopOnSignals(stop)
  renewOnSignal(config, app.server as unknown as Server, app.log)
  await app.listen({ host: config.host, port: config.port })
  if (cluster.isPrimary) stderr.write(createBanner(addressOf(app), config, describeLog(config)))
}

function addressOf (app: FastifyInstance): AddressInfo {
  return app.server.address() as AddressInfo
}
