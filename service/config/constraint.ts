import type { ServiceConfig, VariableName } from './config.ts'

/** Variables that may not go together: which, and what is wrong; undefined when nothing is. */
export interface Constraint {
  among: readonly VariableName[]
  problem: (config: ServiceConfig) => string | undefined
}
