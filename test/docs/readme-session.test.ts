import { readFileSync } from 'node:fs'
import t from 'tap'
import { ROOT } from '../support/markdown.ts'
import { Session, stepsOf } from '../support/session.ts'

t.test('the session in the README runs and shows what the README shows', async t => {
  const steps = stepsOf('README.md', 'Try it')
  t.same(steps.map(step => step.kind), ['start', 'listen', 'call', 'more', 'call', 'listen', 'call', 'call', 'listen'])
  const session = new Session(t)
  for (const step of steps) await session.take(step)
})

t.test('the calls in docs/http.md run and answer what it shows', async t => {
  const session = new Session(t)
  for (const step of stepsOf('docs/http.md')) await session.take(step)
})

t.test('the service of docs/auth.md asks for tokens as it shows', async t => {
  const steps = stepsOf('docs/auth.md', 'The service')
  t.same(steps.map(step => step.kind), ['start', 'call', 'call', 'call', 'listen'])
  const session = new Session(t)
  for (const step of steps) await session.take(step)
})

t.test('the commands for a fresh machine are those of package.json', async t => {
  const { scripts } = JSON.parse(readFileSync(ROOT + 'package.json', 'utf8')) as { scripts: Record<string, string> }
  t.equal(scripts.start, 'node dist/service/cli.js')
  t.equal(scripts.prestart, 'npm run build')
  t.match(scripts.pretest, /npm run build/)
})
