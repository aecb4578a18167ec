import { EventEmitter, once } from 'node:events'
import { readFileSync } from 'node:fs'
import t from 'tap'
import { parse } from 'yaml'
import { anchorsOf, readDoc, ROOT } from '../support/documents/markdown.ts'
import { until } from '../support/until.ts'
import { labelsByName, metricsOf } from '../support/service/metrics.ts'
import { RedisServer } from '../support/redis/redis-server.ts'
import { TestService } from '../support/service/service-app.ts'

// Compares deploy/prometheus/alerts.yaml with a running service and with docs/runbook.md.

interface Alert {
  alert: string
  expr: string
  for: string
  labels: { severity: string }
  annotations: { summary: string, description: string, runbook_url: string }
}

const { groups } = parse(readDoc('deploy/prometheus/alerts.yaml')) as { groups: [{ rules: Alert[] }] }
const alerts = groups[0].rules
/** Labels that Prometheus adds, and the label of histograms. */
const COMMON = new Set(['instance', 'job', 'le'])

/** Selectors of our metrics: `sse_x{a="b"}`, split into name and matchers. */
function selectorsIn (
  expr: string
): { name: string, matchers: { label: string, operator: string, value: string }[] }[] {
  return [...expr.matchAll(/\b(sse_\w+)(?:{([^}]*)})?/g)].map(([, name = '', inside = '']) => ({
    name,
    matchers: [...inside.matchAll(/(\w+)(=~|=)"([^"]*)"/g)].map(([, label = '', operator = '', value = '']) => ({
      label, operator, value
    }))
  }))
}

t.test('every alert uses metrics, labels and values that a running service has', async t => {
  const redis = await RedisServer.start(t)
  const service = await TestService.start(t, { LOG: 'redis', REDIS_URL: redis.url })
  const metrics = await metricsOf(service.origin)
  const known = labelsByName(metrics)
  t.ok(alerts.length > 10)
  for (const { alert, expr } of alerts) {
    const selectors = selectorsIn(expr)
    t.ok(selectors.length > 0 || expr.startsWith('up{'), alert)
    for (const { name, matchers } of selectors) {
      t.ok(known.has(name), `${alert}: ${name}`)
      for (const { label, operator, value } of matchers) {
        for (const each of operator === '=~' ? value.split('|') : [value]) {
          t.ok(
            [...metrics.keys()].some(series => series.startsWith(`${name}{`) && series.includes(`${label}="${each}"`)),
            `${alert}: ${name} ${label}="${each}"`
          )
        }
      }
      for (const [, group = ''] of expr.matchAll(/by \(([^)]*)\)/g)) {
        for (const label of group.split(', ')) {
          t.ok(COMMON.has(label) || known.get(name)!.has(label), `${alert}: by ${label}`)
        }
      }
    }
  }
})

// Regression: only responses to publishes counted, and a live publish has none while it waits.
t.test('a full Redis raises ResumableSsePublishesUnavailable, also if all publishes are live', async t => {
  const redis = await RedisServer.start(t)
  const service = await TestService.start(t, { LOG: 'redis', REDIS_URL: redis.url })
  const { topics } = service.app
  const count = async (): Promise<number> => (await topics.info('a')).count
  const full = new EventEmitter()
  const isFull = once(full, 'full')
  await topics.produce('a', async function * () {
    yield { data: '1' }
    await isFull
    yield { data: '2' }
  })
  await until(async () => await count() === 1)
  const raising = async (): Promise<number> => {
    const metrics = await metricsOf(service.origin)
    return selectorsIn(alerts.find(({ alert }) => alert === 'ResumableSsePublishesUnavailable')!.expr)
      .map(({ name, matchers }) => metrics.get(`${name}{${matchers[0]!.label}="${matchers[0]!.value}"}`)!)
      .reduce((sum, value) => sum + value, 0)
  }
  t.equal(await raising(), 0)
  await redis.with(client => client.config('SET', 'maxmemory', '1'))
  full.emit('full')
  await until(async () => await raising() > 0)
  await redis.with(client => client.config('SET', 'maxmemory', '0'))
  await until(async () => await count() === 2)
})

t.test('every alert has a severity, a duration, texts, and its own section in the runbook', async t => {
  const [, homepage] = /"git\+(https:.*)\.git"/.exec(readDoc('service/package.json')) ?? []
  const anchors = anchorsOf('docs/runbook.md')
  for (const { alert, for: duration, labels, annotations } of alerts) {
    t.match(labels.severity, /^(critical|warning)$/, alert)
    t.match(duration, /^\d+[smh]$/, alert)
    t.ok(annotations.summary !== '' && annotations.description.includes('{{ $labels.instance }}'), alert)
    t.equal(annotations.runbook_url, `${homepage}/blob/main/docs/runbook.md#${alert.toLowerCase()}`)
    t.ok(anchors.has(alert.toLowerCase()), `docs/runbook.md has a section ${alert}`)
  }
  const sections = [...anchors].filter(anchor => anchor.startsWith('resumablesse'))
  t.same(sections.sort(), alerts.map(({ alert }) => alert.toLowerCase()).sort(), 'and no section is without an alert')
})

t.test('the metrics that the runbook names are documented in operations.md', async t => {
  const documented = readDoc('docs/operations.md')
  for (const [name] of readDoc('docs/runbook.md').matchAll(/\bsse_(?!process|nodejs)\w+/g)) {
    t.ok(documented.includes(`\`${name}`), name)
  }
})

t.test('the log lines of the service that the runbook quotes are in its source', async t => {
  const source = ['cli/workers.ts', 'http/log-limit.ts']
    .map(file => readFileSync(`${ROOT}service/${file}`, 'utf8'))
    .join()
  const runbook = readDoc('docs/runbook.md')
  const quoted = [
    'a worker exited; starting a replacement',
    'workers did not exit in time and are killed',
    'repeated problem: further requests were not logged individually'
  ]
  for (const line of quoted) t.ok(source.includes(`'${line}'`) && runbook.includes(`\`${line}\``), line)
})
