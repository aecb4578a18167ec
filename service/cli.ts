#!/usr/bin/env node
import type { AddressInfo } from 'node:net'
import type { FastifyInstance } from 'fastify'
import { createBanner } from './banner.ts'
import { describeFailure } from './failure.ts'
import { buildService, readConfig } from './index.ts'
import { describeLog } from './log.ts'

async function main (): Promise<void> {
  const config = readConfig(process.env, process.argv.slice(2))
  const app = await buildService(config)
  stopOnSignals(app)
  await app.listen({ host: config.host, port: config.port })
  process.stderr.write(createBanner(app.server.address() as AddressInfo, describeLog(config)))
}

/** The first signal drains and exits with 0; the second exits at once. */
function stopOnSignals (app: FastifyInstance): void {
  let isStopping = false
  const stop = (): void => {
    if (isStopping) process.exit(1)
    isStopping = true
    app.close().then(() => process.exit(0), error => fail(error))
  }
  process.on('SIGTERM', stop)
  process.on('SIGINT', stop)
}

function fail (error: unknown): void {
  process.stderr.write(`resumable-sse: ${describeFailure(error)}\n`)
  process.exit(1)
}

main().catch(fail)
