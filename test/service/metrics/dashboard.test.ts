import t from 'tap'
import { readDoc } from '../../support/documents/markdown.ts'
import { labelsByName, metricsOf } from '../../support/service/metrics.ts'
import { RedisServer } from '../../support/redis/redis-server.ts'
import { TestService } from '../../support/service/service-app.ts'

interface Panel { title: string, targets: { expr: string, legendFormat: string }[] }
interface Dashboard { panels: Panel[], templating: { list: { name: string, query: string }[] } }

/** Labels that Prometheus adds to every metric, and the label of histograms. */
const COMMON = ['instance', 'job', 'le']

const dashboard = JSON.parse(readDoc('deploy/grafana-dashboard.json')) as Dashboard

/** The metrics in a query, and the labels that it expects on all of them. */
function wantedBy (expr: string): { metrics: string[], labels: string[] } {
  const matchers = [...expr.matchAll(/{([^}]*)}/g)].flatMap(
    ([, inside = '']) => [...inside.matchAll(/(\w+)\s*(?:=~|!=|!~|=)/g)].map(match => match[1]!)
  )
  const groups = [...expr.matchAll(/by \(([^)]*)\)/g)].flatMap(([, inside = '']) => inside.split(',')
    .map(label => label.trim()))
  return { metrics: expr.match(/\bsse_\w+/g) ?? [], labels: [...matchers, ...groups] }
}

t.test('every query of the dashboard uses metrics and labels that a running service has', async t => {
  const redis = await RedisServer.start(t)
  const service = await TestService.start(t, { LOG: 'redis', REDIS_URL: redis.url })
  const known = labelsByName(await metricsOf(service.origin))
  const queries = dashboard.panels.flatMap(({ title, targets }) => targets.map(target => ({ title, ...target })))
  t.ok(queries.length > 20)
  for (const { title, expr, legendFormat } of queries) {
    const { metrics, labels } = wantedBy(expr)
    t.ok(metrics.length > 0, `${title}: ${expr}`)
    const shown = [...legendFormat.matchAll(/{{(\w+)}}/g)].map(match => match[1]!)
    for (const metric of metrics) {
      t.ok(known.has(metric), `${title}: ${metric}`)
      for (const label of [...labels, ...shown]) {
        t.ok(COMMON.includes(label) || known.get(metric)?.has(label), `${title}: ${metric} has the label ${label}`)
      }
    }
  }
  for (const { query } of dashboard.templating.list.filter(({ name }) => name !== 'datasource')) {
    t.ok(known.has(wantedBy(query).metrics[0] ?? ''), query)
  }
})

t.test('every documented metric is on the dashboard', async t => {
  const shown = dashboard.panels
    .flatMap(({ targets }) => targets.flatMap(({ expr }) => wantedBy(expr).metrics))
    .join(' ')
  for (const [name = ''] of [...readDoc('docs/operations.md').matchAll(/(?<=^\| `)sse_\w+/gm)]) {
    if (name !== 'sse_streams_opened_total') t.ok(shown.includes(name), name)
  }
})
