import type { RetentionRule } from 'fastify-resumable-sse/topics'
import { suggest } from '../cli/flags.ts'
import { duration, durationOrZero, integer } from './variable.ts'
import type { Read } from './variable.ts'

type Setting = Exclude<keyof RetentionRule, 'topics'>

export const MAX_EVENTS = {
  allowed: 'an integer from 1 to 100000000 (events kept per topic)',
  read: integer(1, 100_000_000)
}
export const DURATION_OR_ZERO = {
  allowed: '0 or a duration such as 30s, 10m, 2h or 1d, up to 366d',
  read: durationOrZero
}
export const DURATION = { allowed: 'a duration such as 30s, 10m, 2h or 1d, up to 366d', read: duration }

/** Settings of a rule: the names and formats of the variables that apply to all topics. */
const SETTINGS = new Map<string, { option: Setting, allowed: string, read: Read<number> }>(Object.entries({
  MAX_EVENTS: { option: 'maxEvents', ...MAX_EVENTS },
  MAX_AGE: { option: 'maxAgeMs', ...DURATION_OR_ZERO },
  EXPIRE_AFTER: { option: 'expireAfterMs', ...DURATION_OR_ZERO },
  IDEMPOTENCY_WINDOW: { option: 'idempotencyMs', ...DURATION }
} as const))

/** The characters of topic names, and `*`. */
const PATTERN = /^[A-Za-z0-9*][A-Za-z0-9._~:@/*-]{0,199}$/

/** With a problem, do not use the rules. */
interface ReadRules { rules: RetentionRule[], problems: string[] }

/**
 * Parses `build/* MAX_EVENTS=100 MAX_AGE=1d; chat.* EXPIRE_AFTER=1h`: rules, separated by semicolons or line breaks.
 */
export function readRetention (text: string): ReadRules {
  const problems: string[] = []
  const rules = text
    .split(/[;\n]/)
    .map(rule => rule.trim())
    .filter(rule => rule !== '')
    .map(rule => readRule(rule, problems))
  if (rules.length === 0) problems.push('has no rule')
  const patterns = rules.map(({ topics }) => topics)
  const repeated = patterns.find((pattern, at) => patterns.indexOf(pattern) < at)
  if (repeated !== undefined) {
    problems.push(`has more than one rule for ${JSON.stringify(repeated)}: only the first one would apply`)
  }
  const all = patterns.indexOf('*')
  if (all !== -1 && all < patterns.length - 1) {
    problems.push('has rules after the one for "*", which would never apply: put "*" last')
  }
  return { rules, problems }
}

function readRule (rule: string, problems: string[]): RetentionRule {
  const [topics = '', ...settings] = rule.split(/\s+/)
  if (!PATTERN.test(topics)) {
    problems.push(
      `has the pattern ${JSON.stringify(topics)}: a pattern is a topic name in which * matches any characters`
    )
  }
  if (settings.length === 0) {
    problems.push(`has no setting for ${JSON.stringify(topics)}: write, for example, ${topics} MAX_EVENTS=100`)
  }
  return Object.fromEntries([
    ['topics', topics],
    ...settings.map(setting => readSetting(topics, setting, problems))
  ]) as unknown as RetentionRule
}

function readSetting (topics: string, setting: string, problems: string[]): [string, number | undefined] {
  const [, name = '', text = ''] = /^([^=]*)=?(.*)$/.exec(setting)!
  const known = SETTINGS.get(name)
  if (known === undefined) {
    problems.push(
      `has the setting ${JSON.stringify(name)} for ${JSON.stringify(topics)}: ` +
        `it must be one of ${[...SETTINGS.keys()].join(', ')}${suggest(name, [...SETTINGS.keys()])}`
    )
  }
  const value = known?.read(text)
  if (known !== undefined && value === undefined) {
    problems.push(`has ${name} for ${JSON.stringify(topics)}: it must be ${known.allowed}, saw ${JSON.stringify(text)}`)
  }
  return [known?.option ?? name, value]
}
