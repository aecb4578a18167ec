import { CommandError, UsageError } from '../command.ts'
import type { Call, Command } from '../command.ts'
import { variables } from '../../config/config.ts'
import { readVariable } from '../../config/read-config.ts'
import { parseDuration } from '../../config/duration.ts'
import { list } from '../../config/variable.ts'

const DEFAULT_LIFETIME = '1h'

/** `resumable-sse token`: creates a token as the issuer of an application would, for trials and tools. */
export const token: Command = {
  usage: '[flags]',
  summary: 'Sign a token with JWT_SECRET, or the secret in JWT_SECRET_FILE, and print it.',
  flags: {
    sub: { value: 'NAME', meaning: 'Subject of the token; default cli.' },
    subscribe: { value: 'PATTERNS', meaning: "Patterns of topics to subscribe to: 'news.*,orders'; default none." },
    publish: { value: 'PATTERNS', meaning: 'Patterns of topics to publish to; default none.' },
    'expires-in': {
      value: 'DURATION',
      meaning: `How long it is valid: 30s, 10m, 2h or 1d; default ${DEFAULT_LIFETIME}.`
    }
  },
  async run (call, { stdout }) {
    stdout.write(`${await sign(call)}\n`)
  }
}

async function sign ({ values, env, others }: Call): Promise<string> {
  if (others.length > 0) throw new UsageError(`unknown argument ${JSON.stringify(others[0])}`)
  const [subscribe, publish] = [patternsOf('subscribe', values), patternsOf('publish', values)]
  const nowS = Math.floor(Date.now() / 1_000)
  const lifetime = values.get('expires-in') ?? DEFAULT_LIFETIME
  const ms = parseDuration(lifetime)
  if (!ms) {
    throw new UsageError(`--expires-in must be a duration such as 30s, 10m, 2h or 1d, saw ${JSON.stringify(lifetime)}`)
  }
  const { SignJWT } = await import('jose')
  const jwt = new SignJWT({ [env.JWT_CLAIM || variables.JWT_CLAIM.default]: { subscribe, publish } })
    .setProtectedHeader({ alg: 'HS256' })
    .setSubject(values.get('sub') ?? 'cli')
    .setIssuedAt(nowS)
    .setExpirationTime(nowS + Math.ceil(ms / 1_000))
  if (env.JWT_ISSUER) jwt.setIssuer(env.JWT_ISSUER)
  const audiences = [env.JWT_AUDIENCE, publish.length > 0 ? env.JWT_PUBLISH_AUDIENCE : undefined].filter(
    audience => audience
  )
  if (audiences.length > 0) jwt.setAudience(audiences as string[])
  return jwt.sign(secretOf(env))
}

/** The characters of topic names and patterns, and claims in braces, such as `orders.{sub}.*`. */
const PATTERN = /^[\w.~:@/*{}-]+$/

function patternsOf (flag: string, values: Call['values']): string[] {
  const patterns = list(values.get(flag) ?? '').filter(pattern => pattern !== '')
  const bad = patterns.find(pattern => !PATTERN.test(pattern))
  if (bad === undefined) return patterns
  throw new UsageError(`--${flag} must be patterns of topics such as news.*,orders, saw ${JSON.stringify(bad)}`)
}

/** Read in the same way as by the service, because it must be the same secret. */
function secretOf (env: Call['env']): Uint8Array {
  const { value, problems } = readVariable('JWT_SECRET', { env, flags: new Map() })
  if (typeof value !== 'string') {
    throw new CommandError(problems.join('\n') || `JWT_SECRET must be ${variables.JWT_SECRET.allowed}, saw none`)
  }
  return new TextEncoder().encode(value)
}
