import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { startCluster } from '../../../../support/redis/redis-cluster.ts'

const PROGRAM = fileURLToPath(new URL('../../../../support/redis/cluster-exit-program.ts', import.meta.url))
/** Longer than a busy machine needs to start a process and to refresh the slots of a cluster. */
const TIMEOUT_MS = 120_000

// Regression: ioredis starts its timer for refreshing the slots again when a refresh ends, even after disconnect(): a
// process that was stopped at that moment never exited by itself.
t.test('a process that stops a log or a token store on a cluster while the slots are refreshed exits by itself', async t => {
  const servers = await startCluster(t)
  const nodes = JSON.stringify(servers.map(({ port }) => ({ host: '127.0.0.1', port })))
  await Promise.all(['log', 'store'].map(async what => {
    const child = fork(PROGRAM, [what, nodes], { silent: true })
    t.teardown(() => child.kill('SIGKILL'))
    let stderr = ''
    child.stdout?.resume()
    child.stderr?.setEncoding('utf8').on('data', (text: string) => { stderr += text })
    const [code] = await once(child, 'exit', { signal: AbortSignal.timeout(TIMEOUT_MS) }) as [number | null]
    t.equal(code, 0, `${what}: ${stderr}`)
  }))
})
