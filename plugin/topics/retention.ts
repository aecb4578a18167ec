import { checkOptions, integer, withoutUndefined } from '../common/option-check.ts'
import type { OptionCheck, OptionError } from '../common/option-check.ts'
import { show } from '../common/show.ts'
import { errors } from './errors.ts'
import { matchesPattern } from '../common/pattern.ts'

/** How long a topic's events are kept. A client that comes too late for dropped events receives a gap. */
export interface Retention {
  /** Maximum number of events; the oldest are dropped first. Default 10,000. */
  maxEvents: number
  /** Events older than this many ms are dropped; 0 means no limit. Default 0. */
  maxAgeMs: number
  /**
   * A topic that was not published to for this many ms is forgotten, including its numbers; 0 means never. Default 7
   * days.
   */
  expireAfterMs: number
  /** An idempotency key is remembered for this many ms. Default 24 hours. */
  idempotencyMs: number
}

/** Retention for the topics that match a pattern (`orders.*`, `*`); omitted settings have their defaults. */
export interface RetentionRule extends Partial<Retention> { topics: string }

export const RETENTION_DEFAULTS: Retention = {
  maxEvents: 10_000,
  maxAgeMs: 0,
  expireAfterMs: 7 * 24 * 60 * 60 * 1000,
  idempotencyMs: 24 * 60 * 60 * 1000
}

const DAY_MS = 24 * 60 * 60 * 1000

/**
 * How long after its last append a log remembers that a topic existed: beyond its expiry, so that clients are informed
 * of that.
 */
export function rememberedMs (expireAfterMs: number): number {
  return expireAfterMs + Math.max(expireAfterMs, DAY_MS)
}

const MAX_MS = 366 * 24 * 60 * 60 * 1000
const CHECKS: Record<keyof Retention, OptionCheck> = {
  maxEvents: integer(1, 100_000_000),
  maxAgeMs: integer(0, MAX_MS),
  expireAfterMs: integer(0, MAX_MS),
  idempotencyMs: integer(1, MAX_MS)
}

/** The option of a log; its rules are checked by `createRetention`. */
export const retentionRules: OptionCheck = { range: 'a list of rules', ok: Array.isArray }

/** Returns a topic's retention: that of the first rule whose pattern matches, combined with the defaults. */
export type RetentionOf = (topic: string) => Retention

/** Checks the rules once. Throws `TOPICS_BAD_OPTION`, which names the rule, the range and the value. */
export function createRetention (rules: readonly RetentionRule[] = []): RetentionOf {
  const resolved = rules.map((rule, at) => resolveRule(rule, `retention[${at}]`))
  return topic => resolved.find(({ topics }) => matchesPattern(topics, topic))?.retention ?? RETENTION_DEFAULTS
}

function resolveRule (rule: RetentionRule, where: string): { topics: string, retention: Retention } {
  const { topics, ...given } = withoutUndefined(rule)
  if (typeof topics !== 'string' || topics === '') {
    throw new errors.TOPICS_BAD_OPTION(`${where}.topics`, 'a topic pattern such as "orders.*"', show(topics))
  }
  const bad: OptionError = (name, range, seen) => new errors.TOPICS_BAD_OPTION(`${where}.${name}`, range, seen)
  checkOptions(given, CHECKS, bad, ['topics'])
  return { topics, retention: { ...RETENTION_DEFAULTS, ...given } }
}
