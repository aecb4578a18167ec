import { setTimeout as wait } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import { stampedData } from '../load/event-counter.ts'

export interface TokenLoad {
  topics: readonly string[]
  /** Number of tokens in each stream. */
  tokens: number
  perSecond: number
  /** The option of `produce()`. */
  batchMs: number
}

/** Size of a token with its stamp in bytes. */
const TOKEN_BYTES = 24

/** Runs one producer for each topic. Resolves when all are done to the number of seconds that took. */
export async function produceTokens (app: FastifyInstance, { topics, batchMs, ...load }: TokenLoad): Promise<number> {
  const startedAt = performance.now()
  await Promise.all(topics.map(async topic => {
    const { done } = await app.topics.produce(topic, () => tokensOf(load), { batchMs })
    const { reason } = await done
    if (reason !== 'done') throw new Error(`the producer of ${topic} ended with ${reason}`)
  }))
  return (performance.now() - startedAt) / 1e3
}

async function * tokensOf ({ tokens, perSecond }: Omit<TokenLoad, 'topics' | 'batchMs'>): AsyncGenerator<string> {
  for (let token = 0; token < tokens; token++) {
    yield stampedData(TOKEN_BYTES)
    await wait(1e3 / perSecond)
  }
}
