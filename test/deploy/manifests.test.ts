import { existsSync, readdirSync } from 'node:fs'
import t from 'tap'
import { variables } from '../../service/config/config.ts'
import { readConfig } from '../../service/config/read-config.ts'
import { parseDuration } from '../../service/config/duration.ts'
import { buildService } from '../../service/index.ts'
import { imageEnvironment, readCompose, readManifest } from '../support/documents/deploy.ts'
import { readDoc, ROOT } from '../support/documents/markdown.ts'

// Compares compose.yaml and the Kubernetes manifests with the code: variables, ports, paths and times.

interface Container {
  image: string
  ports: { name: string, containerPort: number }[]
  envFrom: { configMapRef: { name: string } }[]
  env: { name: string, valueFrom: { secretKeyRef: { name: string, key: string } } }[]
  securityContext: { readOnlyRootFilesystem: boolean, allowPrivilegeEscalation: boolean }
  [probe: `${string}Probe`]: {
    httpGet: { path: string, port: string }, periodSeconds: number, failureThreshold: number
  }
}
interface Pod {
  terminationGracePeriodSeconds: number
  securityContext: { runAsNonRoot: boolean, runAsUser: number }
  containers: [Container]
}
interface Deployment {
  metadata: { name: string },
  spec: {
    replicas: number
    selector: { matchLabels: object }
    strategy: { rollingUpdate: { maxUnavailable: number } }
    template: { metadata: { labels: object }, spec: Pod }
  }
}

interface Ingress {
  metadata: { annotations: Record<string, string> }
  spec: { rules: { http: { paths: { path: string }[] } }[] }
}

const deployment = readManifest('deployment.yaml') as unknown as Deployment
const { data } = readManifest('config.yaml') as { data: Record<string, string> }
const pod = deployment.spec.template.spec
const [container] = pod.containers
const compose = readCompose()
const instances = Object.values(compose.services).filter(({ build }) => build !== undefined)

const JWT_SECRET = 'a secret of the tests, long enough for HS256'

/** Minimum time between the end of the drain and SIGKILL. */
const MARGIN_MS = 8_000

t.test('the instances of compose are configured with variables that exist, and the service accepts their values', async t => {
  t.equal(instances.length, 2)
  for (const { environment = {}, stop_grace_period: grace = '' } of instances) {
    for (const name of Object.keys(environment)) t.ok(Object.hasOwn(variables, name), name)
    t.match(environment.JWT_SECRET, /^\$\{JWT_SECRET:\?/, 'without it the service does not start')
    const { drainMs, drainDelayMs, log, redisUrl } = readConfig({ ...imageEnvironment(), ...environment, JWT_SECRET })
    t.match({ log, redisUrl }, { log: 'redis', redisUrl: 'redis://redis:6379/0' })
    t.ok(parseDuration(grace)! >= drainMs + drainDelayMs + MARGIN_MS, 'SIGKILL comes after the drain')
  }
})

t.test('compose starts services after their dependencies, and the instances can be reached through nginx only', async t => {
  t.same(compose.services.nginx?.depends_on, {
    one: { condition: 'service_healthy' }, two: { condition: 'service_healthy' }
  })
  for (const { depends_on: dependsOn, ports } of instances) {
    t.same(dependsOn, { redis: { condition: 'service_healthy' } })
    t.equal(ports, undefined)
  }
  for (const volume of compose.services.nginx?.volumes ?? []) {
    const [from = ''] = volume.split(':')
    t.ok(from === './deploy/tls' || existsSync(ROOT + from), from)
  }
  for (const { volumes = [] } of Object.values(compose.services)) {
    for (const [name = ''] of volumes.map(volume => volume.split(':'))) {
      t.ok(name.startsWith('./') || Object.hasOwn(compose.volumes, name), name)
    }
  }
})

t.test('no container of compose has more rights than it needs, and only the instances reach Redis', async t => {
  for (const [name, { read_only: isReadOnly, cap_drop: dropped, security_opt: security }] of Object.entries(
    compose.services
  )) {
    t.match({ isReadOnly, dropped, security }, {
      isReadOnly: true, dropped: ['ALL'], security: ['no-new-privileges:true']
    }, name)
  }
  t.same(Object.entries(compose.services).filter(([, { cap_add: added }]) => added).map(([name]) => name), ['nginx'])
  t.equal(compose.services.redis!.user, 'redis', 'its entry point needs no capabilities to switch to it')
  const inside = Object.keys(compose.networks).filter(name => compose.networks[name]?.internal === true)
  t.same(compose.services.redis!.networks, inside)
  t.same(Object.entries(compose.services)
    .filter(([, { networks = [] }]) => networks.some(network => inside.includes(network)))
    .map(([name]) => name), ['redis', 'one', 'two'])
})

t.test('nginx knows the instances of compose by name and port, and Redis is configured as docs/redis.md says', async t => {
  const servers = [
    ...readDoc('deploy/nginx.conf').matchAll(/server (\w+):(\d+)/g)
  ].map(([, name, port]) => [name, port])
  t.same(servers, Object.keys(compose.services)
    .filter(name => compose.services[name]!.build)
    .map(name => [name, imageEnvironment().PORT]))
  const command = compose.services.redis!.command!.join(' ')
  for (const setting of ['maxmemory-policy noeviction', 'appendonly yes']) {
    t.match(readDoc('docs/redis.md'), `\`${setting}\``)
    t.match(command, `--${setting}`)
  }
})

t.test('nginx accepts bodies as large as the service does, and its timeouts are longer than one heartbeat', async t => {
  const config = readDoc('deploy/nginx.conf')
  const { maxBatchBytes, heartbeatMs } = readConfig({})
  const megabytes = Number(/client_max_body_size (\d+)m/.exec(config)?.[1])
  t.ok(megabytes * 1024 * 1024 > maxBatchBytes)
  t.equal(readManifestText('ingress.yaml').match(/proxy-body-size: (\S+)/)?.[1], `${megabytes}m`)
  for (const seconds of [
    /proxy_read_timeout (\d+)s/.exec(config)?.[1],
    /proxy-read-timeout: '(\d+)'/.exec(readManifestText('ingress.yaml'))?.[1]
  ]) {
    t.ok(Number(seconds) * 1_000 >= 3 * heartbeatMs)
  }
})

const readManifestText = (file: string): string => readDoc(`deploy/kubernetes/${file}`)

t.test('the pods are configured with variables that exist and values that the service accepts, and are killed after the drain', async t => {
  const fromSecret = container.env.map(({ name }) => name)
  for (const name of [...Object.keys(data), ...fromSecret]) t.ok(Object.hasOwn(variables, name), name)
  t.same(fromSecret, ['REDIS_URL', 'JWT_SECRET'])
  const { drainMs, drainDelayMs, port, log } = readConfig({
    ...imageEnvironment(), ...data, REDIS_URL: 'redis://redis:6379/0', JWT_SECRET
  })
  t.equal(log, 'redis')
  t.equal(container.ports[0]?.containerPort, port)
  t.ok(pod.terminationGracePeriodSeconds * 1_000 >= drainMs + drainDelayMs + MARGIN_MS)
  const { readinessProbe } = container
  t.ok(
    drainDelayMs >= readinessProbe!.periodSeconds * readinessProbe!.failureThreshold * 1_000,
    'a pod is no longer ready before its streams end'
  )
})

t.test('the probes request paths that exist; only a new pod must have reached Redis', async t => {
  const app = await buildService(readConfig({ LOG: 'memory', LOG_LEVEL: 'silent' }))
  t.teardown(() => app.close())
  const paths = ['startupProbe', 'livenessProbe', 'readinessProbe'].map(
    probe => container[probe as 'startupProbe']!.httpGet
  )
  t.same(paths.map(({ path }) => path), ['/readyz', '/healthz', '/readyz?check=draining'])
  for (const { path, port } of paths) {
    t.equal((await app.inject(path)).statusCode, 200)
    t.equal(port, container.ports[0]?.name)
  }
  const ingress = readManifestText('ingress.yaml')
  t.same([...ingress.matchAll(/path: (\/\w+)/g)].map(([, path]) => path), ['/events', '/topics'])
  for (const url of ['/events', '/topics/:topic']) t.ok(app.hasRoute({ method: 'GET', url }), url)
  t.match(readManifestText('deployment.yaml'), 'prometheus.io/path: /metrics')
  t.equal((await app.inject('/metrics')).statusCode, 200)
})

t.test('a pod has no more rights than it needs, and pods are replaced one at a time', async t => {
  t.match(pod.securityContext, { runAsNonRoot: true, runAsUser: 1000 })
  t.match(container.securityContext, {
    readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] }
  })
  t.equal(deployment.spec.strategy.rollingUpdate.maxUnavailable, 0)
  t.ok(deployment.spec.replicas >= 2)
  t.match(readManifest('poddisruptionbudget.yaml'), { spec: { maxUnavailable: 1 } })
})

t.test('the ingress forwards live publishes as they arrive, of any size and with long pauses, as nginx.conf does', t => {
  const { metadata: { annotations }, spec: { rules: [rule] } } = readManifest('ingress-live.yaml') as unknown as Ingress
  const setting = (name: string): string | undefined => annotations[`nginx.ingress.kubernetes.io/${name}`]
  const location = /location ~ \^(\S+) \{(.*?)\}/s.exec(readDoc('deploy/nginx.conf'))!
  t.equal(rule!.http.paths[0]!.path, location[1])
  t.equal(setting('use-regex'), 'true')
  t.equal(setting('proxy-request-buffering'), /proxy_request_buffering (\w+);/.exec(location[2]!)?.[1])
  t.equal(setting('proxy-body-size'), /client_max_body_size (\w+);/.exec(location[2]!)?.[1])
  t.equal(`${setting('proxy-send-timeout')}s`, /proxy_send_timeout (\w+);/.exec(location[2]!)?.[1])
  t.end()
})

t.test('the manifests name and select the same pods, the same ports and the same configuration', async t => {
  const files = readdirSync(`${ROOT}deploy/kubernetes`)
  for (const file of files) t.match(readManifest(file), { metadata: { name: 'resumable-sse' } }, file)
  const labels = deployment.spec.template.metadata.labels
  t.same(deployment.spec.selector.matchLabels, labels)
  t.match(readManifest('service.yaml'), { spec: { selector: labels, ports: [{ targetPort: 'http' }] } })
  t.match(readManifest('poddisruptionbudget.yaml'), { spec: { selector: { matchLabels: labels } } })
  t.match(readManifest('networkpolicy.yaml'), {
    spec: { podSelector: { matchLabels: labels }, ingress: [{ ports: [{ port: 'http' }] }] }
  })
  t.same(container.envFrom, [{ configMapRef: { name: 'resumable-sse' } }])
  const { version } = JSON.parse(readDoc('package.json')) as { version: string }
  t.equal(container.image, `resumable-sse:${version}`)
})
