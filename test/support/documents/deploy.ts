import { parse, parseAllDocuments } from 'yaml'
import { readDoc } from './markdown.ts'

/** The parts of compose.yaml that the tests check. */
export interface ComposeService {
  image?: string
  build?: string
  command?: string[]
  environment?: Record<string, string>
  stop_grace_period?: string
  ports?: string[]
  volumes?: string[]
  depends_on?: Record<string, { condition: string }>
  healthcheck?: { test: string[] }
  networks?: string[]
  user?: string
  read_only?: boolean
  cap_drop?: string[]
  cap_add?: string[]
  security_opt?: string[]
}

export interface Compose {
  services: Record<string, ComposeService>
  networks: Record<string, { internal?: boolean } | null>
  volumes: Record<string, unknown>
}

export function readCompose (): Compose {
  return parse(readDoc('compose.yaml'), { merge: true }) as Compose
}

/** The only manifest in a file of deploy/kubernetes. */
export function readManifest (file: string): Record<string, unknown> {
  const documents = parseAllDocuments(readDoc(`deploy/kubernetes/${file}`))
  if (documents.length !== 1) throw new Error(`${file} holds ${documents.length} documents`)
  return documents[0]!.toJS() as Record<string, unknown>
}

/** One instruction of the Dockerfile, with its lines joined. `stage` counts from 0. */
export interface Instruction { stage: number, name: string, text: string }

export function readDockerfile (): Instruction[] {
  const lines = readDoc('Dockerfile')
    .replace(/\\\n/g, ' ')
    .split('\n')
    .filter(line => line !== '' && !line.startsWith('#'))
  let stage = -1
  return lines.map(line => {
    const [, name = '', text = ''] = /^([A-Z]+) (.*)$/.exec(line) ?? []
    if (name === 'FROM') stage++
    return { stage, name, text }
  })
}

/** The variables that the last stage sets. */
export function imageEnvironment (): Record<string, string> {
  const texts = readDockerfile().filter(({ stage, name }) => stage === 1 && name === 'ENV').map(({ text }) => text)
  return Object.fromEntries(texts.flatMap(text => text.split(' ').map(pair => pair.split('=', 2) as [string, string])))
}
