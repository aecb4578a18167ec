// Puts the documents of the repository into a package before it is packed, and removes them afterwards (npm's prepack and
// postpack): npm packs only what lies in the package's own folder.
//
//   node scripts/package-documents.js add|remove FOLDER
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'

const ROOT = join(import.meta.dirname, '..')
const REPOSITORY = 'https://github.com/fastify-resumable-sse/fastify-resumable-sse/blob/HEAD/'
const COMMON = ['CHANGELOG.md', 'LICENSE', 'SECURITY.md', 'docs']
/** The service has a README of its own, in its folder. */
const DOCUMENTS = { 'fastify-resumable-sse': ['README.md', ...COMMON, 'examples'], 'resumable-sse': COMMON }
const RELATIVE_LINK = /\]\((?![a-z]+:|#)([^)#\s]+)/g

function pagesIn (folder, document) {
  if (document.endsWith('.md')) return [join(folder, document)]
  if (document !== 'docs' && document !== 'examples') return []
  return readdirSync(join(folder, document), { recursive: true }).filter(file => file.endsWith('.md')).map(file => join(folder, document, file))
}

/**
 * A link to what is not in the package becomes one to the repository. So do all links of the README: the registry shows it
 * on a page of its own, where a relative link leads nowhere.
 */
function rewriteLinks (folder, page) {
  const isReadme = page === join(folder, 'README.md')
  const text = readFileSync(page, 'utf8').replace(RELATIVE_LINK, (link, target) => {
    const path = relative(folder, join(dirname(page), target))
    return !isReadme && existsSync(join(folder, path)) ? link : `](${REPOSITORY}${path}`
  })
  writeFileSync(page, text)
}

/** Screenshots weigh more than all pages together: a package links to those of the repository. */
function isPacked (file) {
  return !file.endsWith('.png')
}

const [action = '', folder = ''] = process.argv.slice(2)
const { name } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
const documents = DOCUMENTS[name]
for (const document of documents) {
  rmSync(join(folder, document), { recursive: true, force: true })
  if (action === 'add') cpSync(join(ROOT, document), join(folder, document), { recursive: true, filter: isPacked })
}
if (action === 'add') for (const page of documents.flatMap(document => pagesIn(folder, document))) rewriteLinks(folder, page)
