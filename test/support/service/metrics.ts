import { call } from './service-app.ts'

/**
 * The values of a service's metrics, by name and labels as printed: `sse_streams_open`,
 * `sse_gaps_total{reason="fork"}`.
 */
export async function metricsOf (origin: string): Promise<Map<string, number>> {
  const { text } = await call(`${origin}/metrics`)
  return new Map([...text.matchAll(/^([a-z_:0-9]+(?:{.*})?) (\S+)$/gm)].map(([, name = '', value]) => [
    name, Number(value)
  ]))
}

/** The names of metrics as registered, with their labels; `le` and `quantile` are not ours. */
export function labelsByName (metrics: ReadonlyMap<string, number>): Map<string, Set<string>> {
  const labels = new Map<string, Set<string>>()
  for (const shown of metrics.keys()) {
    const [, name = '', inside = ''] = /^([^{]+)(?:{(.*)})?$/.exec(shown) ?? []
    const known = labels.get(name) ?? new Set()
    for (const [, label = ''] of inside.matchAll(/(\w+)="/g)) known.add(label)
    labels.set(name, known)
  }
  return labels
}
