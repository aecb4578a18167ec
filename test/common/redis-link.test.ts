import t from 'tap'
import type { Redis } from 'ioredis'
import { RedisLink } from '../../plugin/common/redis/redis-link.ts'
import { parseTarget } from '../../plugin/common/redis/redis-target.ts'
import { RedisServer } from '../support/redis/redis-server.ts'
import { until } from '../support/until.ts'

// Regression: a command that failed after the socket had ended and before `close` was emitted found no problem, so
// that an outage had a second line, with a stack.
t.test('RedisLink: a command that fails before the close of its connection is emitted reports the problem', async t => {
  const server = await RedisServer.start(t)
  const link = new RedisLink<Redis>({
    target: parseTarget(server.url, '', (name, allowed) => new Error(`${name}: ${allowed}`)),
    commandTimeoutMs: 5_000,
    define: client => client as Redis,
    probe: client => client.ping()
  })
  const lines: string[] = []
  const write = (details: object, message: string): void => { lines.push(message) }
  t.teardown(() => link.stop())
  await link.start({ info: write, warn: write }, async () => {})
  link.client.stream.end()
  t.equal(link.client.status, 'ready', 'the client has not noticed it')
  const problem = await link.run(() => link.client.get('a')).catch(() => link.trouble.problem)
  t.equal(problem, 'the command connection was closed')
  await until(() => link.isReady)
  t.equal(link.trouble.problem, undefined)
  await until(() => lines.length === 2)
  t.match(lines, [/^redis: the command connection was closed; retrying$/, /all connections work again/])
})
