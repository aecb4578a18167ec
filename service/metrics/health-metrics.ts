import type { Registry } from 'prom-client'
import type { LogHealth } from 'fastify-resumable-sse/topics'
import type { Drain } from '../streams/drain.ts'
import { addCounter, addGauge } from './live-metrics.ts'

/** Whether the process is shutting down. */
export function watchDrain (registry: Registry, drain: Drain): void {
  addGauge(registry, {
    name: 'draining',
    help: '1 while the process is shutting down',
    value: () => Number(drain.isDraining)
  })
}

/** The state of the connections to Redis. */
export function watchRedis (registry: Registry, health: () => LogHealth): void {
  addGauge(registry, {
    name: 'canary_age_seconds',
    help: 'Time since the last probe message was received back from Redis',
    aggregator: 'max',
    value: () => health().canaryAgeMs / 1_000
  })
  addGauge(registry, {
    name: 'redis_healthy',
    help: '1 when Redis accepts commands and its messages arrive',
    aggregator: 'min',
    value: () => Number(health().isHealthy)
  })
  addCounter(registry, {
    name: 'redis_reconnects_total',
    help: 'Connections to Redis that were lost and re-established',
    value: () => health().reconnects
  })
  addCounter(registry, {
    name: 'redis_deaf_connections_total',
    help: 'Message connections that received nothing and were replaced',
    value: () => health().replaced
  })
}
