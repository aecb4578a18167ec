import type { FastifyInstance } from 'fastify'
import type { ServiceConfig } from '../config/config.ts'
import { buildService } from '../index.ts'
import { describeLog } from '../log.ts'

/**
 * Does everything that a start does except listen, and queries the log; resolves to the message of success. Rejects
 * with what would make a start fail.
 */
export async function check (config: ServiceConfig): Promise<string> {
  const app = await buildService({ ...config, logLevel: 'silent' })
  try {
    await app.ready()
    // Any topic will do: the log answers for a topic without events, too.
    await app.topics.info('check')
    await rejectTrouble(app, config)
  } finally {
    await app.close()
  }
  return `resumable-sse would listen on ${describeListening(config)} (${describeLog(config)}); the log responds\n`
}

/**
 * A log that responds may still be unable to deliver events: a Redis user without access to the channels can read and
 * write.
 */
async function rejectTrouble (app: FastifyInstance, { prefix }: ServiceConfig): Promise<void> {
  const { checks } = (await app.inject('/readyz')).json<{ checks: { canary?: { problem?: string } } }>()
  const problem = checks.canary?.problem
  if (problem === undefined) return
  const remedy = problem.startsWith('NOPERM')
    ? `: grant the Redis user its permissions, including the channels "&${prefix}*" (docs/redis.md has the command)`
    : ''
  throw new Error(`the log responds, but has a problem: ${problem}${remedy}`)
}

function describeListening ({ host, port, workers, tlsCert }: ServiceConfig): string {
  const where = `${tlsCert === undefined ? 'http' : 'https'}://${host.includes(':') ? `[${host}]` : host}:${port}`
  return workers === 1 ? where : `${where} with ${workers} workers`
}
