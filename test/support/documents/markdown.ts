import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** The root of the repository, with a trailing slash. */
export const ROOT = fileURLToPath(new URL('../../../', import.meta.url))

/** All documents for users. */
export const DOCS: readonly string[] = [
  'README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', 'SECURITY.md',
  ...readdirSync(`${ROOT}docs`, { recursive: true, encoding: 'utf8' })
    .filter(file => file.endsWith('.md') && file !== 'benchmarks.md')
    .sort()
    .map(file => `docs/${file}`),
  'examples/README.md',
  ...readdirSync(`${ROOT}examples`).map(name => `examples/${name}/README.md`).filter(file => existsSync(ROOT + file))
]

/** A fenced block: its language, its text without the fences, and its position. */
export interface Block { file: string, line: number, section: string, language: string, text: string }

/** Reads a file of the repository. */
export function readDoc (file: string): string {
  return readFileSync(ROOT + file, 'utf8')
}

/** All fenced blocks of a file, in order; `section` is the heading above. */
export function blocksOf (file: string): Block[] {
  const blocks: Block[] = []
  let section = ''
  let open: { line: number, language: string, lines: string[] } | undefined
  readDoc(file).split('\n').forEach((text, at) => {
    if (open && text === '```') {
      blocks.push({ file, line: open.line, section, language: open.language, text: open.lines.join('\n') })
      open = undefined
    } else if (open) {
      open.lines.push(text)
    } else if (text.startsWith('```')) {
      open = { line: at + 1, language: text.slice(3), lines: [] }
    } else if (text.startsWith('#')) {
      section = text.replace(/^#+ /, '')
    }
  })
  return blocks
}

/** The text without its fenced blocks: prose, tables and links. */
export function proseOf (file: string): string {
  return readDoc(file).replace(/^```[^\n]*\n[\s\S]*?^```$/gm, '')
}

/** The rows of the tables whose first column has this heading, as cells without backticks. */
export function tableRows (file: string, firstHeading: string): string[][] {
  const rows: string[][] = []
  let isInside = false
  for (const line of proseOf(file).split('\n')) {
    const cells = line.startsWith('|') ? cellsOf(line) : undefined
    if (!cells) isInside = false
    else if (cells[0] === firstHeading) isInside = true
    else if (isInside && !/^-+$/.test(cells[0] ?? '')) rows.push(cells)
  }
  return rows
}

function cellsOf (line: string): string[] {
  return line.replace(/^\||\|$/g, '').split('|').map(cell => cell.trim().replace(/^`([^`]*)`$/, '$1'))
}

/** The anchors that GitHub creates for the headings of a file. */
export function anchorsOf (file: string): Set<string> {
  const headings = proseOf(file).split('\n').filter(line => line.startsWith('#'))
  return new Set(
    headings.map(line => line.replace(/^#+ /, '').toLowerCase().replace(/[^\p{L}\p{N} _-]/gu, '').replaceAll(' ', '-'))
  )
}
