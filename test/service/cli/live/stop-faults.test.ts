import type { ServerResponse } from 'node:http'
import t from 'tap'
import { producerOf } from '../../../support/service/live-publish.ts'
import { until } from '../../../support/until.ts'
import { startHttpProxy } from '../../../support/network/http-proxy.ts'
import { TestService } from '../../../support/service/service-app.ts'
import { CommandCall } from '../../../support/processes/terminal.ts'

// How `resumable-sse publish --live` ends early when a proxy in front of the service fails its request to stop. The
// command ignored the answer and sent the end of the body anyway, which closed the topic as done, with part of the
// lines.

/** What the proxy does with a request to stop. */
const FAULTS: Record<string, (response: ServerResponse) => void> = {
  'answers 503': response => { response.writeHead(503).end() },
  'answers 429': response => { response.writeHead(429, { 'retry-after': '60' }).end() },
  'drops the connection': response => { response.destroy() },
  'answers 403': response => { response.writeHead(403).end() },
  'answers that nothing was stopped': response => { response.end('{"stopped":false}') },
  'answers with a page': response => { response.end('<html>') },
  'answers for the service': response => { response.end('{"stopped":true}') }
}

const ENDS = {
  signal: /SIGINT: the topic stays open until its lease ends, with 1 events\n$/,
  line: /line 2 is not JSON/
}

for (const [name, fault] of Object.entries(FAULTS)) {
  t.test(`a proxy that ${name}: the topic stays open`, async t => {
    const service = await TestService.start(t)
    const origin = await startHttpProxy(t, service.origin, ({ url }, response) => {
      const isStop = url!.endsWith('/stop')
      if (isStop) fault(response)
      return isStop
    })
    await Promise.all(Object.entries(ENDS).map(async ([topic, message]) => {
      const call = new CommandCall(['publish', '--live', topic, '--ndjson', '--url', origin])
      call.stdin.write('{"data":"one"}\n')
      await until(async () => (await producerOf(service.origin, topic))?.accepted === 1)
      if (topic === 'signal') call.leave()
      else call.stdin.write('{\n')
      t.match((await call.result()).err, message, topic)
      t.match(await producerOf(service.origin, topic), { state: 'live', accepted: 1 }, topic)
    }))
  })
}

t.test('a request to stop that fails is repeated, also if only its answer was lost', async t => {
  const service = await TestService.start(t)
  for (const isForwarded of [false, true]) {
    const topic = `forwarded-${isForwarded}`
    let requests = 0
    const origin = await startHttpProxy(t, service.origin, ({ url }, response) => {
      if (!url!.endsWith('/stop') || ++requests > 1) return false
      const forwarded = isForwarded ? service.call(url!, { method: 'POST' }) : Promise.resolve()
      void forwarded.then(() => response.destroy())
      return true
    })
    const call = new CommandCall(['publish', '--live', topic, '--url', origin])
    call.stdin.write('one\n')
    await until(async () => (await producerOf(service.origin, topic))?.accepted === 1)
    call.leave()
    t.match((await call.result()).err, /SIGINT: the topic is closed as stopped, with 1 events\n$/)
    t.match(await producerOf(service.origin, topic), { state: 'stopped', accepted: 1 })
    t.equal(requests, 2)
  }
})
