import type { FastifyInstance } from 'fastify'
import type { RedisLog } from 'fastify-resumable-sse/topics/redis'
import type { ServiceConfig } from '../config/config.ts'
import { buildService } from '../index.ts'
import { createLog, describeLog } from '../log.ts'
import { CommandError } from './command.ts'

/**
 * Does everything that a start does except listen, and queries the log; resolves to the success message. Rejects with
 * any error that would make a start or a publish fail; calls back for warnings.
 */
export async function check (config: ServiceConfig, warn: (warning: string) => void): Promise<string> {
  const app = await buildService({ ...config, logLevel: 'silent' })
  try {
    await app.ready()
    // Any topic will do: the log also answers for a topic without events.
    await app.topics.info('check')
    await rejectTrouble(app, config)
    await rejectReadOnly(config, warn)
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
  throw new CommandError(`the log responds, but has a problem: ${problem}${remedyFor(problem, prefix)}`)
}

/** Opening files already tests writing. Redis may answer reads and reject writes, which only a write detects. */
async function rejectReadOnly (config: ServiceConfig, warn: (warning: string) => void): Promise<void> {
  if (config.log !== 'redis') return
  const log = await createLog(config) as RedisLog
  const report = (details: object, message: string): void => warn(message)
  await log.start({ info: () => {}, warn: report, error: report })
  try {
    await log.checkWrites()
  } catch (error) {
    const { cause, message } = error as Error
    const problem = cause instanceof Error ? cause.message : message
    const remedy = remedyFor(problem, config.prefix)
    throw new CommandError(`the log can be read, but a publish would fail: ${problem}${remedy}`)
  } finally {
    await log.stop()
  }
}

function remedyFor (problem: string, prefix: string): string {
  if (!problem.startsWith('NOPERM')) return ''
  return `: grant the Redis user its permissions, including the channels "&${prefix}*" (docs/redis.md has the command)`
}

function describeListening ({ host, port, workers, tlsCert }: ServiceConfig): string {
  const where = `${tlsCert === undefined ? 'http' : 'https'}://${host.includes(':') ? `[${host}]` : host}:${port}`
  return workers === 1 ? where : `${where} with ${workers} workers`
}
