import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import t from 'tap'
import { anchorsOf, blocksOf, DOCS, proseOf, readDoc, ROOT } from '../support/documents/markdown.ts'

/** The second line is for docs/proxies.md, whose blocks are run by test/deploy/proxies.test.ts. */
const LANGUAGES = new Set([
  'ts', 'js', 'jsx', 'console', 'text',
  'mermaid',
  'haproxy', 'caddy', 'vcl', 'apache', 'squid', 'lighttpd', 'yaml'
])

/** Targets of the links in a file. */
function linksOf (file: string): string[] {
  return [...proseOf(file).matchAll(/\]\(([^)\s]+)\)/g)].map(match => match[1] ?? '')
}

t.test('every link inside the documents points to an existing file, and its anchor to a heading', async t => {
  for (const file of DOCS) {
    for (const link of linksOf(file).filter(link => !/^https?:/.test(link))) {
      const [path = '', anchor] = link.split('#')
      const target = path === '' ? file : join(dirname(file), path)
      t.ok(existsSync(ROOT + target), `${file}: ${link}`)
      if (anchor !== undefined) t.ok(anchorsOf(target).has(anchor), `${file}: ${link}`)
    }
  }
})

t.test('every document is linked from the README or from the index in docs or in examples', async t => {
  const linked = new Set(['README.md', 'docs/README.md', 'examples/README.md'].flatMap(
    from => linksOf(from).map(link => join(dirname(from), link.split('#')[0] ?? ''))
  ))
  for (const file of DOCS) t.ok(file === 'README.md' || linked.has(file), file)
})

t.test('every block declares its language, so that none is skipped by the tests by mistake', async t => {
  for (const { file, line, language } of DOCS.flatMap(blocksOf)) {
    t.ok(LANGUAGES.has(language), `${file}:${line} ${language}`)
  }
})

t.test('the files that CONTRIBUTING and the page on the architecture name exist', async t => {
  for (const doc of ['CONTRIBUTING.md', 'docs/internals/architecture.md']) {
    const files = [
      ...readDoc(doc).matchAll(/`((?:plugin|service|test|deploy|docs|scripts)\/[^`\s]*)`/g)
    ].map(([, file]) => file!)
    t.ok(files.length > 5)
    for (const file of files) t.ok(existsSync(ROOT + file), `${doc}: ${file}`)
  }
})

t.test('the test files and the variables that CONTRIBUTING names exist', async t => {
  const files = [...readDoc('CONTRIBUTING.md').matchAll(/test\/\S+\.ts/g)].map(([file]) => file)
  t.ok(files.length > 0)
  for (const file of files) t.ok(existsSync(ROOT + file), file)
  for (const name of readDoc('CONTRIBUTING.md').match(/MODEL_[A-Z]+/g) ?? []) {
    t.ok(readDoc('test/support/model/seeds.ts').includes(name), name)
  }
})
