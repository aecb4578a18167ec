import type { ServiceConfig, VariableName } from './config.ts'

/** A rule about variables that cannot be combined: their names, and what is wrong; undefined if nothing is. */
export interface Constraint {
  among: readonly VariableName[]
  problem: (config: ServiceConfig) => string | undefined
}
