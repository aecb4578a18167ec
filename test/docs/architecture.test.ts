import { readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import t from 'tap'
import ts from 'typescript'
import { blocksOf, readDoc } from '../support/documents/markdown.ts'

// docs/internals/architecture.md shows the rooms and the imports between them. The linter rejects imports against the
// direction; this test compares the diagram with all actual imports, and detects cycles, which no lint rule sees.

const SOURCES = ['plugin', 'service'].flatMap(folder => {
  const files = readdirSync(join(import.meta.dirname, '../..', folder), { recursive: true, encoding: 'utf8' })
  return files.filter(file => /(?<!\.d)\.ts$/.test(file) && !/^(dist|node_modules)\//.test(file))
    .map(file => `${folder}/${file}`)
})

interface Import { specifier: string, isOfTypes: boolean }

/** The imports and re-exports of a file. */
function importsOf (file: string): Import[] {
  const { statements } = ts.createSourceFile(file, readDoc(file), ts.ScriptTarget.ES2022)
  return statements.flatMap(statement => {
    if (ts.isImportDeclaration(statement)) {
      return toImport(statement.moduleSpecifier, statement.importClause?.isTypeOnly)
    }
    return ts.isExportDeclaration(statement) ? toImport(statement.moduleSpecifier, statement.isTypeOnly) : []
  })
}

function toImport (specifier: ts.Expression | undefined, isOfTypes = false): Import[] {
  return specifier && ts.isStringLiteral(specifier) ? [{ specifier: specifier.text, isOfTypes }] : []
}

/** The files that must be loaded before a file; type imports are gone at run time. */
function loadedBy (file: string): string[] {
  const loaded = importsOf(file).filter(({ specifier, isOfTypes }) => specifier.startsWith('.') && !isOfTypes)
  return loaded.map(({ specifier }) => join(dirname(file), specifier))
}

/** A room is a folder of the library with its subfolders, the library's index, or the whole service. */
function roomOf (file: string): string {
  const [top = '', room = ''] = file.split('/')
  if (top === 'service') return 'service'
  return room.endsWith('.ts') ? 'index' : room
}

/** The target of an import: the service uses the library only by name, so all its exports count as one target. */
function targetOf (file: string, specifier: string): string | undefined {
  if (specifier.startsWith('.')) return roomOf(join(dirname(file), specifier))
  return specifier.startsWith('fastify-resumable-sse') ? 'exports' : undefined
}

function drawnArrows (): string[] {
  const { text = '' } = blocksOf('docs/internals/architecture.md').find(({ language }) => language === 'mermaid') ?? {}
  return [...text.matchAll(/^ *(\w+) --> (\w+)$/gm)].map(([, from, to]) => `${from} --> ${to}`)
}

/** The cycles in a graph, each as a path. */
function circlesIn (graph: ReadonlyMap<string, readonly string[]>): string[] {
  const done = new Set<string>()
  const circles: string[] = []
  const visit = (node: string, path: readonly string[]): void => {
    if (path.includes(node)) circles.push([...path.slice(path.indexOf(node)), node].join(' -> '))
    if (path.includes(node) || done.has(node)) return
    for (const next of graph.get(node) ?? []) visit(next, [...path, node])
    done.add(node)
  }
  for (const node of graph.keys()) visit(node, [])
  return circles
}

t.test('the drawing shows every import between the folders, and no other', async t => {
  const found = new Set(SOURCES.flatMap(file => importsOf(file).flatMap(({ specifier }) => {
    const [from, to] = [roomOf(file), targetOf(file, specifier)]
    return to === undefined || to === from ? [] : [`${from} --> ${to}`]
  })))
  t.same(drawnArrows().sort(), [...found].sort())
})

t.test('the drawing has no cycle', async t => {
  const graph = new Map<string, string[]>()
  for (const [from = '', to = ''] of drawnArrows().map(arrow => arrow.split(' --> '))) {
    graph.set(from, [...graph.get(from) ?? [], to])
  }
  t.same(circlesIn(graph), [])
})

t.test('no file is imported in a cycle', async t => {
  t.ok(SOURCES.length > 100)
  t.same(circlesIn(new Map(SOURCES.map(file => [file, loadedBy(file)]))), [])
})

// A file whose types come from a file that imports it cannot be understood separately.
t.test('the types of two files are not declared in a cycle either', async t => {
  const importedBy = (file: string): string[] => importsOf(file)
    .filter(({ specifier }) => specifier.startsWith('.'))
    .map(({ specifier }) => join(dirname(file), specifier))
  t.same(circlesIn(new Map(SOURCES.map(file => [file, importedBy(file)]))), [])
})

t.test('no two classes have the same name', async t => {
  const names = SOURCES.flatMap(
    file => [...readDoc(file).matchAll(/^(?:export )?(?:abstract )?class (\w+)/gm)].map(([, name]) => name!)
  )
  t.ok(names.length > 30)
  t.same(names.filter((name, i) => names.indexOf(name) !== i), [])
})

// If a folder is not packed, the source maps of the package lack their sources, and attw finds unresolvable imports.
t.test('each package contains every folder of its sources', t => {
  // The console is bundled, so no source map of the package refers to it.
  const folders = new Set(SOURCES.map(file => file.split('/'))
    .filter(({ length }) => length > 2)
    .map(([home, folder]) => `${home}/${folder}`))
  const packed = ['plugin', 'service'].flatMap(home => {
    const { files } = JSON.parse(readDoc(`${home}/package.json`)) as { files: string[] }
    return files.map(file => `${home}/${file}`)
  })
  t.same([...folders].filter(folder => folder !== 'service/console' && !packed.includes(folder)), [])
  t.end()
})

// The linter reads no Lua.
t.test('the lines of Lua scripts have at most 120 characters', async t => {
  const files = readdirSync(join(import.meta.dirname, '../../plugin'), { recursive: true, encoding: 'utf8' })
    .filter(file => file.endsWith('.lua') && !file.startsWith('dist/'))
  t.ok(files.length > 0)
  for (const file of files) t.same(readDoc(`plugin/${file}`).split('\n').filter(line => line.length > 120), [], file)
})

t.test('a cycle is found', async t => {
  t.same(circlesIn(new Map([['a', ['b', 'c']], ['b', ['c']], ['c', ['b']]])), ['b -> c -> b'])
})
