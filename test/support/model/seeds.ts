/**
 * The seeds of a run: `MODEL_SEED=n` reruns one, `MODEL_SCHEDULES=n` runs so many, `MODEL_FACTOR=n` so many times the usual.
 */
export function seeds (usual: number): number[] {
  if (process.env.MODEL_SEED !== undefined) return [Number(process.env.MODEL_SEED)]
  const count = Number(process.env.MODEL_SCHEDULES ?? usual * Number(process.env.MODEL_FACTOR ?? 1))
  return Array.from({ length: count }, (_, at) => at + 1)
}

/** Runs the schedules and gathers what is wrong, by how to run it again; stops after `most`. */
export async function whatIsWrong (seeds: readonly number[], run: (seed: number) => Promise<string[]>, most = 3): Promise<Record<string, string[]>> {
  const wrong: Record<string, string[]> = {}
  for (const seed of seeds) {
    const problems = await run(seed)
    if (problems.length > 0) wrong[`MODEL_SEED=${seed}`] = problems
    if (Object.keys(wrong).length >= most) break
  }
  return wrong
}
