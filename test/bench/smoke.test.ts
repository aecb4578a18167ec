import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { scenarios } from '../../bench/scenarios/index.ts'
import { ROOT } from '../support/documents/markdown.ts'

// Checks no times: a run with small numbers fails if a server misbehaves, or if a client receives too few or too many
// events.

const PROGRAM = join(ROOT, 'dist/bench/run.js')

t.test('npm run bench runs all scenarios and writes its document', { timeout: 280_000 }, async t => {
  const folder = t.testdir()
  const { status, stderr } = spawnSync(process.execPath, [PROGRAM, '--smoke', '--out', folder], { encoding: 'utf8' })
  t.equal(status, 0, stderr)
  const document = readFileSync(join(folder, 'benchmarks.md'), 'utf8')
  for (const { title } of scenarios) t.ok(document.includes(`\n## ${title}\n`), title)
  t.match(document, /\| Goal \| What \| Figure \| Limit \| Met \|/)
  for (const [, image = ''] of document.matchAll(/\]\((images\/[^)]+)\)/g)) t.ok(existsSync(join(folder, image)), image)
})

t.test('npm run bench rejects unknown scenario names and lists the known ones', async t => {
  const { status, stderr } = spawnSync(process.execPath, [PROGRAM, 'nothing'], { encoding: 'utf8' })
  t.equal(status, 2)
  t.equal(stderr, `unknown scenario nothing; there are ${scenarios.map(({ name }) => name).join(', ')}\n`)
})
