import type { FastifyInstance } from 'fastify'
import type { ServiceConfig } from '../config/config.ts'
import { buildService } from '../index.ts'
import { describeLog } from '../log.ts'

/**
 * Does everything that a start does except listen, and asks the log; resolves to what a start would do. Rejects with
 * what would be wrong.
 */
export async function check (config: ServiceConfig): Promise<string> {
  const app = await buildService({ ...config, logLevel: 'silent' })
  try {
    await app.ready()
    // Any topic will do: a log that is there answers for one nobody published to.
    await app.topics.info('check')
    await refuseTrouble(app, config)
  } finally {
    await app.close()
  }
  return `resumable-sse would listen on ${describeListening(config)} (${describeLog(config)}); the log answers\n`
}

/**
 * A log that answers may still be unable to pass events on: a Redis user without the right to channels can read and
 * write.
 */
async function refuseTrouble (app: FastifyInstance, { prefix }: ServiceConfig): Promise<void> {
  const { checks } = (await app.inject('/readyz')).json<{ checks: { canary?: { problem?: string } } }>()
  const problem = checks.canary?.problem
  if (problem === undefined) return
  const remedy = problem.startsWith('NOPERM')
    ? `: give the Redis user its rights, the channels "&${prefix}*" among them (docs/redis.md has the command)`
    : ''
  throw new Error(`the log answers, but has a problem: ${problem}${remedy}`)
}

function describeListening ({ host, port, workers, tlsCert }: ServiceConfig): string {
  const where = `${tlsCert === undefined ? 'http' : 'https'}://${host.includes(':') ? `[${host}]` : host}:${port}`
  return workers === 1 ? where : `${where} with ${workers} workers`
}
