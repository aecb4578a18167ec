import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { readdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { run } from '../../../support/processes/commands.ts'
import { until } from '../../../support/until.ts'
import { blocksOf, readDoc, ROOT, tableRows } from '../../../support/documents/markdown.ts'
import { dataOf, RedisApp } from '../../../support/redis/redis-app.ts'

/** Ignores the clock in replies. */
const comparable = (text: string): string => text.replace(/"\d{13}"/g, '"<ms>"').trim()

t.test('the commands of docs/redis.md publish, and followers receive the events unchanged', async t => {
  const redis = await RedisApp.start(t)
  const stream = await redis.connect('news')
  const folder = await mkdtemp(join(tmpdir(), 'redis-doc-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  const blocks = blocksOf('docs/redis.md').filter(
    ({ language, text }) => language === 'console' && text.includes('publish.lua')
  )
  const parts = blocks.flatMap(({ text }) => text.split(/^\$ /m).slice(1))
  t.equal(parts.length, 4)
  for (const part of parts) {
    const [command = '', ...shown] = part.split('\n')
    const real = command.replaceAll('publish.lua', `${folder}/publish.lua`)
      .replace('redis-cli', `redis-cli -p ${redis.server.port}`)
    const ran = run(t, 'bash', ['-c', real])
    await ran.ended
    t.equal(comparable(ran.out), comparable(shown.join('\n')), command)
  }
  await redis.publish('news', 'from the app')
  const events = await stream.next(5)
  t.same(
    dataOf(events),
    ['stream.open', 'hello', '{"home":1}', 'two\nlines, ü', 'from the app'].map((data, at) => at === 2 ? 'score' : data)
  )
  t.match(stream.text, /event: score\nretry: 5000\ndata: {"home":1}\n/)
  t.equal(stream.retryMs, 5_000)
  stream.close()
})

t.test('the scripts reject invalid calls, and append nothing', async t => {
  const redis = await RedisApp.start(t)
  const script = await readFile(`${ROOT}plugin/topics/log/redis/scripts/state.lua`, 'utf8') +
    await readFile(`${ROOT}plugin/topics/log/redis/scripts/append.lua`, 'utf8')
  const call = (...args: string[]) =>
    redis.server.with(client => client.eval(script, 2, 'sse:{a}:log', 'sse:{a}:meta', 'sse:{a}', ...args))
  await t.rejects(call('PUBLISH', '10', '0', '0', '1', '', ''), /event, data, retry/)
  await t.rejects(call('PUBLISH', '10', '0', '0', '1', '', '', '', 'x'), /event, data, retry/)
  await t.rejects(call('PUBLISH', 'many', '0', '0', '1', '', '', '', 'x', ''), /retention must be numbers/)
  await t.rejects(call('SHOUT', '10', '0', '0', '1', '', '', '', 'x', ''), /PUBLISH or SPUBLISH/)
  t.match(await redis.app.topics.info('a'), { last: null, count: 0 })
})

t.test('docs/redis.md lists the existing keys', async t => {
  const redis = await RedisApp.start(t)
  await redis.app.topics.publish('news', { data: 'x' }, { idempotencyKey: '<key>' })
  await until(() => redis.log.isHealthy)
  const keys = await redis.server.with(client => client.keys('*'))
  t.same(tableRows('docs/redis.md', 'Key').map(([key]) => key).sort(), keys.sort())
})

t.test('each row of docs/faults.md has a test', t => {
  const titles = readdirSync(`${ROOT}test/topics`, { recursive: true, encoding: 'utf8' })
    .filter(file => file.includes('faults'))
    .map(file => titlesIn(`test/topics/${file}`))
    .flat()
  const rows = tableRows('docs/faults.md', 'Fault').map(([fault = '']) => fault)
  t.same(rows.filter(fault => !titles.some(title => title.startsWith(fault))), [])
  const told = titles.filter(title => /^[A-Z][^:]*: /.test(title)).map(title => title.split(':')[0] ?? '')
  t.same(told.filter(fault => !rows.includes(fault)), [], 'each tested fault has a row')
  t.end()
})

function titlesIn (file: string): string[] {
  return [...readDoc(file).matchAll(/t\.test\(['`](.*?)['`], /g)].map(([, title = '']) => title)
}
