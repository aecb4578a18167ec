import type { ServiceConfig } from '../config/config.ts'
import { buildService } from '../index.ts'
import { describeLog } from '../log.ts'

/** Does all that a start does but listen, and asks the log; says what a start would do. Rejects with what would be wrong. */
export async function check (config: ServiceConfig): Promise<string> {
  const app = await buildService({ ...config, logLevel: 'silent' })
  try {
    await app.ready()
    // Any topic will do: a log that is there answers for one nobody published to.
    await app.topics.info('check')
  } finally {
    await app.close()
  }
  return `resumable-sse would listen on ${describeListening(config)} (${describeLog(config)}); the log answers\n`
}

function describeListening ({ host, port, workers, tlsCert }: ServiceConfig): string {
  const where = `${tlsCert === undefined ? 'http' : 'https'}://${host.includes(':') ? `[${host}]` : host}:${port}`
  return workers === 1 ? where : `${where} with ${workers} workers`
}
