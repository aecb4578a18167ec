import { spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { redisVersion } from '../harness/redis.ts'
import { goalTable, section } from './markdown.ts'
import type { Finished } from './markdown.ts'
import { toSvg } from './svg.ts'

/** Writes benchmarks.md into a folder, and its charts into `images` in that folder. */
export function writeDocument (folder: string, finished: readonly Finished[], missing: ReadonlySet<string>): void {
  mkdirSync(join(folder, 'images'), { recursive: true })
  writeFileSync(join(folder, 'benchmarks.md'), documentOf(finished, missing))
  for (const chart of finished.flatMap(({ result }) => result.charts ?? [])) {
    writeFileSync(join(folder, 'images', `bench-${chart.name}.svg`), toSvg(chart))
  }
}

function documentOf (finished: readonly Finished[], missing: ReadonlySet<string>): string {
  return [
    '# Benchmarks',
    'Written by `npm run bench`. Compare figures of one run only, and ratios rather than times: the load, Redis and\n' +
      'the servers share one machine.',
    `${machine()}.${missing.size === 0 ? '' : ` Not installed: ${[...missing].join(', ')}.`}`,
    'All servers run in processes of their own and stay warm for the whole run; the sides of a comparison are\n' +
      'measured in turn, and the first round does not count. CPU is what the operating system accounts for a\n' +
      'server, its Redis included. Every client counts its events: one that is missing or duplicated fails the run.',
    '- **floor**: bare node:http that writes one shared buffer, already framed as an HTTP chunk, to each client per\n' +
      '  turn of the event loop. It keeps no log; no server on Node can be faster.\n' +
      '- **ours**: `app.topics` on the Redis log. Every event goes through Redis and back before a client gets it.\n' +
      '- **nchan + Redis**: Debian\'s nginx with nchan, one worker, through Redis.\n' +
      '- **@fastify/sse**, **better-sse**, **fastify-sse-v2**: in memory, as their READMEs show.',
    '## Goals',
    goalTable(finished),
    ...finished.map(section)
  ].join('\n\n') + '\n'
}

function machine (): string {
  const commit = spawnSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).stdout.trim()
  return `Commit ${commit}, Node ${process.version}, ${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}, ` +
    `Redis ${redisVersion()}`
}
