import { readdirSync, readFileSync } from 'node:fs'
import type { Test } from 'tap'
import { open } from '../clients/client.ts'
import type { Opened } from '../clients/client.ts'
import { startService } from './commands.ts'
import type { Command } from './commands.ts'
import { stablePort } from '../network/ports.ts'
import { RedisServer } from '../redis/redis-server.ts'
import { call } from '../service/service-app.ts'
import { until } from '../until.ts'

/** The ids of the child processes of a process. */
export function childrenOf (pid: number): number[] {
  const parentOf = (id: string): number | undefined => {
    try {
      return Number(/\) \S (\d+)/.exec(readFileSync(`/proc/${id}/stat`, 'utf8'))?.[1])
    } catch {
      return undefined
    }
  }
  return readdirSync('/proc').filter(id => /^\d+$/.test(id) && parentOf(id) === pid).map(Number)
}

export function isGone (pid: number): boolean {
  try {
    process.kill(pid, 0)
    return false
  } catch {
    return true
  }
}

/** A service with two workers. */
export interface Team { service: Command, origin: string, redis: RedisServer }

export async function startTeam (t: Test, env: Record<string, string> = {}): Promise<Team> {
  const redis = await RedisServer.start(t)
  return {
    redis, ...await startService(t, { WORKERS: '2', REDIS_URL: redis.url, PORT: `${await stablePort()}`, ...env })
  }
}

/** Opens streams on separate connections. */
export async function listen (t: Test, origin: string, count: number): Promise<Opened[]> {
  const streams = await Promise.all(Array.from({ length: count }, () => open(t, `${origin}/events?topic=news`)))
  await Promise.all(streams.map(({ inbox }) => inbox.until('stream.open')))
  return streams
}

/** Publishes one event to the topic that `listen` uses. */
export const publish = (origin: string, body: string) =>
  call(`${origin}/topics/news/events`, { method: 'POST', body, type: 'text/plain' })

/** Pauses a worker; settles when it accepts no connections any more. */
export async function pause (pid: number): Promise<void> {
  process.kill(pid, 'SIGSTOP')
  await until(() => readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') T '))
}
