import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { run } from '../support/processes/commands.ts'
import { blocksOf, ROOT } from '../support/documents/markdown.ts'

// The guide's example for authors of a log or a store, run as they would: with Node's own runner, on the built package.

const section = 'A log or a token store of your own'
const blocks = blocksOf('docs/guides/testing.md').filter(block => block.section === section && block.language === 'js')
// Inside the repository, so that the package is found by its own name.
const folder = join(ROOT, '.tap', 'contract-suites', String(process.pid))
mkdirSync(folder, { recursive: true })
t.teardown(() => rmSync(folder, { recursive: true, force: true }))

t.equal(blocks.length, 2)

/** The report of `node --test` for the file. */
async function report (name: string, text: string): Promise<string> {
  const file = join(folder, `${name}.mjs`)
  writeFileSync(file, text)
  // Without the environment that tap sets for every Node process.
  const command = run(t, 'env', ['-u', 'NODE_OPTIONS', process.execPath, '--test', '--test-reporter=tap', file])
  await command.ended
  return command.out
}

for (const [at, { text, line }] of blocks.entries()) {
  t.test(`the block at docs/guides/testing.md:${line} passes under node:test`, async t => {
    const out = await report(`block-${at}`, text)
    t.match(out, /^# fail 0$/m)
    t.ok(Number(/^# pass (\d+)$/m.exec(out)?.[1]) > 10, out.slice(-300))
  })
}

t.test('a log that breaks the contract fails under node:test', async t => {
  const broken = 'const log = new (class extends MemoryLog { append (...[topic, events]) { return super.append(topic, ' +
    'events) } })({ retention })'
  const text = blocks[0]!.text.replace('const log = new MemoryLog({ retention })', broken)
  t.not(text, blocks[0]!.text)
  t.match(await report('broken', text), /^not ok \d+ - an idempotency key used again/m)
})
