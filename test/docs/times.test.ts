import t from 'tap'
import { variables } from '../../service/config/config.ts'
import type { VariableName } from '../../service/config/config.ts'
import { parseDuration } from '../../service/config/duration.ts'
import { TIMEOUTS } from '../../service/http/connections/timeouts.ts'
import { readCompose, readManifest } from '../support/documents/deploy.ts'
import { readDoc, tableRows } from '../support/documents/markdown.ts'

// docs/deploy.md, "Timeouts that must match": the defaults match the code, and they do match each other.

const rows = new Map(tableRows('docs/deploy.md', 'Time').map(([name = '', value = '']) => [
  name.replaceAll('`', ''), value
]))
const shown = (name: string): string => rows.get(name) ?? `no row for ${name}`
const seconds = (ms: number): string => `${ms / 1_000} s`
const variable = (name: VariableName): number => Number(variables[name].default)

/** A time in the nginx configuration, such as `proxy_read_timeout 60s`. */
const nginxMs = (directive: string): number | undefined =>
  parseDuration(new RegExp(`\\b${directive} (\\w+);`).exec(readDoc('deploy/nginx.conf'))?.[1] ?? '')

t.test('the defaults in the table are those of the code and of the files in deploy', async t => {
  for (const name of ['HEARTBEAT_MS', 'DRAIN_DELAY_MS', 'DRAIN_MS', 'CANARY_MS', 'REPLICAS_TIMEOUT_MS'] as const) {
    t.equal(shown(name), seconds(variable(name)), name)
  }
  t.equal(shown('Head of a request'), seconds(TIMEOUTS.headMs))
  t.equal(shown('A whole request'), seconds(TIMEOUTS.requestMs))
  t.equal(shown('A connection without requests'), seconds(TIMEOUTS.idleMs))
  const commandTimeout = tableRows('docs/topics.md', 'Log option').find(
    ([option]) => option === 'RedisLog.commandTimeoutMs'
  )
  t.equal(shown('Connecting to Redis, and a command'), seconds(Number(commandTimeout?.[1])))
  t.equal(shown('proxy_read_timeout of nginx and the Ingress'), seconds(nginxMs('proxy_read_timeout')!))
  t.match(readDoc('deploy/kubernetes/ingress.yaml'), "proxy-read-timeout: '60'")
})

t.test('the times before a process is killed are those of compose, Kubernetes and systemd', async t => {
  const instances = Object.values(readCompose().services).filter(({ build }) => build !== undefined)
  const { spec } = readManifest('deployment.yaml') as unknown as {
    spec: { template: { spec: { terminationGracePeriodSeconds: number } } }
  }
  const unit = /TimeoutStopSec=(\d+)/.exec(readDoc('deploy/resumable-sse@.service'))?.[1]
  const told = shown('stop_grace_period, terminationGracePeriodSeconds, TimeoutStopSec')
  for (const { stop_grace_period: grace = '' } of instances) {
    t.equal(told, `${seconds(parseDuration(grace)!)}, ${spec.template.spec.terminationGracePeriodSeconds} s, ${unit} s`)
  }
})

t.test('the defaults are consistent with each other', async t => {
  t.ok(3 * variable('HEARTBEAT_MS') <= nginxMs('proxy_read_timeout')!, 'a late heartbeat ends no stream')
  t.ok(variable('HEARTBEAT_MS') <= 15_000, 'load balancers cut idle connections after 60 s, some after 30 s')
  t.ok(TIMEOUTS.idleMs > 60_000, 'the proxy closes an idle connection first')
  t.ok(variable('REPLICAS_TIMEOUT_MS') < 5_000, 'replicas are not waited for longer than for Redis itself')
})
