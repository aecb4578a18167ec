import t from 'tap'
import type { Test } from 'tap'
import { originIn, run } from '../support/processes/commands.ts'
import { blocksOf } from '../support/documents/markdown.ts'
import { RedisServer } from '../support/redis/redis-server.ts'

// docs/guides/scaling.md, with a Redis and ports of the test instead of those shown.

const SHOWN_REDIS = 'redis://127.0.0.1:6379'
const EVENT_ID = /\b\d{13}-(\d+)\b/g
const comparable = (text: string): string => text.replace(EVENT_ID, '<ms>-$1').replace(/[ \t]+$/gm, '').trim()

/** Starts an instance as shown; returns the pair of the shown and the actual origin. */
async function start (t: Test, command: string, redis: string): Promise<readonly [string, string]> {
  const [, port = ''] = /PORT=(\d+)/.exec(command) ?? []
  const real = command.replace(SHOWN_REDIS, redis).replace(`PORT=${port}`, 'PORT=0')
  const service = run(t, 'bash', ['-c', `exec env ${real}`])
  await service.until(({ err }) => err.includes('listens on'))
  return [`http://127.0.0.1:${port}`, originIn(service.err)]
}

async function answer (
  t: Test,
  command: string,
  origins: ReadonlyMap<string, string>,
  redisPort: string
): Promise<string> {
  let real = command.replace('redis-cli', `redis-cli -p ${redisPort}`)
  for (const [shown, origin] of origins) real = real.replaceAll(shown, origin)
  const ran = run(t, 'bash', ['-c', `exec ${real}`])
  await ran.ended
  return ran.out
}

t.test('the commands of the guide to scaling run, and print what it shows', async t => {
  const { url } = await RedisServer.start(t)
  const origins = new Map<string, string>()
  const consoles = blocksOf('docs/guides/scaling.md').filter(({ language }) => language === 'console')
  const commands = consoles.flatMap(({ text }) => text.split(/^\$ /m).slice(1))
  for (const [command = '', ...shown] of commands.map(text => text.split('\n'))) {
    if (command === 'npm run build') continue // The tests run the built files.
    else if (command.includes('dist/cli.js')) origins.set(...await start(t, command, url))
    else {
      t.equal(
        comparable(await answer(t, command, origins, new URL(url).port)),
        comparable(shown.join('\n')),
        command
      )
    }
  }
  t.equal(origins.size, 2)
})
