// Copies the repository's documents into a package before it is packed, and removes them afterwards (npm's prepack and
// postpack), because npm packs only files in the package's own folder.
//
//   node scripts/package-documents.js add|remove FOLDER
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'

const ROOT = join(import.meta.dirname, '..')
const REPOSITORY = 'https://github.com/fastify-resumable-sse/fastify-resumable-sse/blob/HEAD/'
const COMMON = ['CHANGELOG.md', 'LICENSE', 'SECURITY.md', 'docs']
/** The service has its own README, in its folder. */
const DOCUMENTS = { 'fastify-resumable-sse': ['README.md', ...COMMON, 'examples'], 'resumable-sse': COMMON }
const RELATIVE_LINK = /\]\((?![a-z]+:|#)([^)#\s]+)/g

function pagesIn (folder, document) {
  if (document.endsWith('.md')) return [join(folder, document)]
  if (document !== 'docs' && document !== 'examples') return []
  return readdirSync(join(folder, document), { recursive: true })
    .filter(file => file.endsWith('.md'))
    .map(file => join(folder, document, file))
}

/**
 * Replaces links to files outside the package by links to the repository. The same applies to all links in the README:
 * the registry shows it on a separate page, where relative links are dead.
 */
function rewriteLinks (folder, page) {
  const isReadme = page === join(folder, 'README.md')
  const text = readFileSync(page, 'utf8').replace(RELATIVE_LINK, (link, target) => {
    const path = relative(folder, join(dirname(page), target))
    return !isReadme && existsSync(join(folder, path)) ? link : `](${REPOSITORY}${path}`
  })
  writeFileSync(page, text)
}

/** Documents that users of a package do not need: the internals and, in the library, the documents of the service. */
const INTERNALS = ['docs/internals']
const OF_SERVICE = [
  'configuration', 'console', 'deploy', 'http', 'operations', 'runbook'
].map(name => `docs/${name}.md`)
const LEFT_OUT = { 'fastify-resumable-sse': [...INTERNALS, ...OF_SERVICE], 'resumable-sse': INTERNALS }

/**
 * Screenshots are larger than all pages together. A package links to those in the repository, as to everything that it
 * omits.
 */
function isPacked (file) {
  return !file.endsWith('.png') && !LEFT_OUT[name].includes(relative(ROOT, file))
}

const [action = '', folder = ''] = process.argv.slice(2)
const { name } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
const documents = DOCUMENTS[name]
for (const document of documents) {
  rmSync(join(folder, document), { recursive: true, force: true })
  if (action === 'add') cpSync(join(ROOT, document), join(folder, document), { recursive: true, filter: isPacked })
}
if (action === 'add') {
  for (const page of documents.flatMap(document => pagesIn(folder, document))) rewriteLinks(folder, page)
}
