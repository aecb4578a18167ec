import { ConfigError, readConfig } from '../../service/config/read-config.ts'

export type Env = Record<string, string | undefined>

/** The problems reported for a configuration; empty for a valid one. */
export function problemsOf (env: Env, argv: string[] = []): readonly string[] {
  try {
    readConfig(env, argv)
    return []
  } catch (error) {
    if (error instanceof ConfigError) return error.problems
    throw error
  }
}
