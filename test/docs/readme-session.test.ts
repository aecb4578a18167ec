import { readdirSync, readFileSync, statSync } from 'node:fs'
import t from 'tap'
import { open } from '../support/clients/client.ts'
import { originIn, run } from '../support/processes/commands.ts'
import { blocksOf, ROOT } from '../support/documents/markdown.ts'
import { RedisServer } from '../support/redis/redis-server.ts'
import { call } from '../support/service/service-app.ts'
import { Session, stepsOf } from '../support/auth/session.ts'

t.test('the session in the README runs and prints what the README shows', async t => {
  const [start] = stepsOf('docs/guides/service.md')
  const steps = stepsOf('README.md', 'Run the service')
  t.same(steps.map(step => step.kind), ['listen', 'call', 'more', 'call', 'listen'])
  const session = new Session(t)
  await session.take(start!)
  for (const step of steps) await session.take(step)
})

t.test('the guide to the service runs and prints what it shows', async t => {
  const steps = stepsOf('docs/guides/service.md')
  t.same(steps.map(step => step.kind), ['start', 'listen', 'call', 'more', 'call', 'listen', 'call', 'call', 'listen'])
  const session = new Session(t)
  for (const step of steps) await session.take(step)
})

t.test('the calls in docs/http.md run and return what it shows', async t => {
  const session = new Session(t)
  for (const step of stepsOf('docs/http.md')) await session.take(step)
})

t.test('the service of docs/auth.md requires tokens as it shows', async t => {
  const steps = stepsOf('docs/auth.md', 'The service')
  t.same(steps.map(step => step.kind), ['export', 'start', 'call', 'call', 'call', 'listen'])
  const session = new Session(t)
  for (const step of steps) await session.take(step)
})

/** When each built file was last written. */
const writtenAt = (): Record<string, number> => Object.fromEntries(['plugin/dist', 'service/dist'].flatMap(folder => {
  return readdirSync(ROOT + folder, { recursive: true, encoding: 'utf8' }).map(file => [
    `${folder}/${file}`, statSync(`${ROOT}${folder}/${file}`).mtimeMs
  ])
}))

// Regression: they were `npm start`, whose build overwrote the files of the first instance while it was running.
t.test('the commands for two instances in docs/configuration.md start them side by side, and do not change the build', async t => {
  const { text = '' } = blocksOf('docs/configuration.md').find(
    ({ language, text }) => language === 'console' && text.includes('PORT=8081')
  ) ?? {}
  const [build, ...starts] = text.split('\n').map(line => line.replace(/^\$ /, ''))
  t.equal(build, 'npm run build')
  const before = writtenAt()
  const { url } = await RedisServer.start(t)
  const origins: string[] = []
  for (const start of starts) {
    const service = run(t, 'bash', [
      '-c', `exec env ${start.replace('redis://127.0.0.1:6379', url).replace(/PORT=\d+/, 'PORT=0')}`
    ])
    await service.until(({ err }) => err.includes('listens on'))
    origins.push(originIn(service.err))
  }
  t.equal(origins.length, 2)
  t.same(writtenAt(), before)
  const [one, two] = origins
  t.match(await call(`${one}/topics/news/events`, { method: 'POST', body: { data: 'from one' } }), { status: 201 })
  const { inbox } = await open(t, `${two}/events?topic=news&last=1`)
  await inbox.until('data: from one\n\n')
})

t.test('the commands for a fresh machine are those of package.json', async t => {
  const { scripts } = JSON.parse(readFileSync(ROOT + 'package.json', 'utf8')) as { scripts: Record<string, string> }
  t.equal(scripts.start, 'node service/dist/cli.js')
  t.equal(scripts.prestart, 'npm run build')
  t.match(scripts.pretest, /npm run build/)
})
