import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { AddressInfo } from 'node:net'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import type { Test } from 'tap'
import ts from 'typescript'
import { run } from '../support/processes/commands.ts'
import { blocksOf, DOCS, ROOT } from '../support/documents/markdown.ts'
import type { Block } from '../support/documents/markdown.ts'

const SHOWN_ORIGIN = 'http://127.0.0.1:3000'

/** A TypeScript block as a complete program, with the console blocks that follow it in its section. */
interface Program { name: string, block: Block, source: string, consoles: Block[] }

const programs: Program[] = []
for (const file of DOCS) {
  for (const block of blocksOf(file)) {
    if (block.language === 'ts') {
      programs.push({
        name: `${file.replace(/\W/g, '-')}-${block.line}`, block, source: wholeProgram(file, block.text), consoles: []
      })
    } else if (block.language === 'console' &&
      programs.at(-1)?.block.file === file && programs.at(-1)?.block.section === block.section) {
      programs.at(-1)!.consoles.push(block)
    }
  }
}

// Inside the repository, so that the package is found by its own name, as it is after an installation.
const folder = join(ROOT, '.tap', 'code-blocks', String(process.pid))
mkdirSync(folder, { recursive: true })
t.teardown(() => rmSync(folder, { recursive: true, force: true }))

/** Adds what the document presupposes, and exports the app instead of listening on a fixed port. */
function wholeProgram (file: string, text: string): string {
  const imports = text.split('\n').filter(line => line.startsWith('import '))
  const body = text.split('\n').filter(line => !line.startsWith('import ') && !line.includes('app.listen(')).join('\n')
  if (text.includes('const app = Fastify(')) return [...imports, body, 'export { app }', ''].join('\n')
  const isOnTopics = file === 'docs/topics.md'
  return [
    "import Fastify from 'fastify'", "import sse from 'fastify-resumable-sse'",
    ...isOnTopics ? ["import topics, { MemoryLog } from 'fastify-resumable-sse/topics'"] : [],
    ...imports,
    'const app = Fastify()', 'await app.register(sse)',
    ...isOnTopics ? ['await app.register(topics, { log: new MemoryLog() })'] : [],
    body, 'export { app }', ''
  ].join('\n')
}

t.test('every TypeScript block is free of type errors', async t => {
  const files = programs.map(({ name, source }) => {
    const file = join(folder, `${name}.ts`)
    writeFileSync(file, source)
    return file
  })
  const { config } = ts.readConfigFile(join(ROOT, 'tsconfig.json'), ts.sys.readFile)
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, ROOT)
  // Compiled against the published declarations, as by a reader's compiler.
  options.customConditions = []
  const found = ts.getPreEmitDiagnostics(ts.createProgram(files, options))
  const told = found.map(({ file, start, messageText }) => {
    const program = programs.find(({ name }) => file?.fileName.endsWith(`${name}.ts`))
    return `${program ? `${program.block.file}:${program.block.line}` : file?.fileName} at ${file?.text.slice(start, (start ?? 0) + 40)}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`
  })
  t.same(told, [])
})

/** Programs for a browser page are only compiled: they have no server, and test/client runs the code they use. */
const servers = programs.filter(({ source }) => !source.includes("'fastify-resumable-sse/client'"))

for (const { name, block, source, consoles } of servers) {
  t.test(`the block at ${block.file}:${block.line} runs, and curl shows the documented output`, async t => {
    const app = await load(t, name, source)
    await app.listen({ host: '127.0.0.1', port: 0 })
    const origin = `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`
    const ids = new Map<string, string>()
    for (const { text } of consoles) await checkSession(t, text, { origin, ids })
  })
}

// Regression: the route ignored the cursor of the page, and events published after the page was read were lost.
t.test('the stream in docs/topics.md continues after the page of history', async t => {
  const { name, source } = programs.find(({ source }) => source.includes("app.get('/history'"))!
  const app = await load(t, `${name}-history`, source)
  await app.topics.publish('news', { data: 'in the page' })
  const { cursor } = (await app.inject('/history')).json<{ cursor: string }>()
  await app.topics.publish('news', { data: 'after the page' })
  await app.topics.close('news')
  const { body } = await app.inject(`/news?lastEventId=${encodeURIComponent(cursor)}`)
  t.match(body, 'data: after the page')
  t.notMatch(body, 'data: in the page')
})

async function load (t: Test, name: string, source: string): Promise<FastifyInstance> {
  const file = join(folder, `${name}.mjs`)
  const { outputText } = ts.transpileModule(source, {
    compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ES2022 }
  })
  writeFileSync(file, outputText)
  const { app } = await import(pathToFileURL(file).href) as { app: FastifyInstance }
  t.teardown(() => app.close())
  return app
}

/**
 * The id of an event. In commands, ids that were printed before replace those shown in the document, by their number.
 */
const EVENT_ID = /\b\d{13}-(\d+)\b/g

async function checkSession (
  t: Test,
  text: string,
  { origin, ids }: { origin: string, ids: Map<string, string> }
): Promise<void> {
  for (const part of text.split(/^\$ /m).slice(1)) {
    const [command = '', ...shown] = part.split('\n')
    const real = command.replaceAll(SHOWN_ORIGIN, origin).replace(EVENT_ID, (id, n: string) => ids.get(n) ?? id)
    const curl = run(t, 'bash', ['-c', `exec ${real}`])
    await curl.ended
    for (const [id, n] of curl.out.matchAll(EVENT_ID)) ids.set(n!, id)
    t.equal(comparable(curl.out), comparable(shown.join('\n')), command)
  }
}

/** Ignores the clock in ids, a random `retry:`, and spaces at line ends. */
function comparable (text: string): string {
  return text.replace(EVENT_ID, '<ms>-$1')
    .replace(/^retry: (2\d{3}|3\d{3}|4000)$/gm, 'retry: <2000 to 4000>')
    .replace(/[ \t]+$/gm, '')
    .trim()
}
