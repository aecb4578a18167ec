/**
 * The seeds of a run: `MODEL_SEED=n` repeats one, `MODEL_SCHEDULES=n` runs n of them, `MODEL_FACTOR=n` n times the
 * usual number.
 */
export function seeds (usual: number): number[] {
  if (process.env.MODEL_SEED !== undefined) return [Number(process.env.MODEL_SEED)]
  const count = Number(process.env.MODEL_SCHEDULES ?? usual * Number(process.env.MODEL_FACTOR ?? 1))
  return firstSeeds(count)
}

/** The seeds of a run in which a fault must be found: always from the first one on, until it is found. */
export function firstSeeds (count: number): number[] {
  return Array.from({ length: count }, (_, at) => at + 1)
}

/**
 * Runs the schedules and collects all violations, each with the command to repeat it; stops after `most`. Only those
 * that match `kind` count: of one fault, the timing decides which violation is noticed first.
 */
export async function whatIsWrong (
  seeds: readonly number[],
  run: (seed: number) => Promise<string[]>,
  most = 3,
  kind = /(?:)/
): Promise<Record<string, string[]>> {
  const wrong: Record<string, string[]> = {}
  for (const seed of seeds) {
    const problems = (await run(seed)).filter(problem => kind.test(problem))
    if (problems.length > 0) wrong[`MODEL_SEED=${seed}`] = problems
    if (Object.keys(wrong).length >= most) break
  }
  return wrong
}
