import { startContender } from '../harness/contenders.ts'
import type { ContenderName } from '../harness/contenders.ts'
import { atMost } from '../scenario.ts'
import type { Scenario } from '../scenario.ts'
import type { Stage } from '../stage.ts'

const CONTENDERS: ContenderName[] = ['floor', 'nchan + Redis', '@fastify/sse', 'better-sse', 'fastify-sse-v2', 'ours']

/** Idle streams. */
export const memory: Scenario = {
  name: 'memory',
  title: 'Memory of an idle stream: 8,000 streams on one topic',
  about: 'Per stream, in a process that has just started and served 500 streams before: the heap and buffers after\n' +
    'a collection, and the resident memory.',
  async run (stage) {
    const names = stage.there(CONTENDERS)
    const figures: Partial<Record<ContenderName, { heap: number, rss: number }>> = {}
    for (const name of names) figures[name] = await measure(stage, name)
    const ours = figures.ours!
    return {
      tables: [{
        columns: ['', 'RSS, KiB', 'heap and buffers, KiB'],
        rows: names.map(name => [name, figures[name]!.rss / 1_024, figures[name]!.heap / 1_024])
      }],
      goals: [
        atMost('3', 'heap of an idle stream', ours.heap / 1_024, 8, 'KiB'),
        atMost('3', 'resident memory of an idle stream', ours.rss / 1_024, 12, 'KiB')
      ]
    }
  }
}

async function measure (stage: Stage, name: ContenderName): Promise<{ heap: number, rss: number }> {
  const contender = await startContender(name)
  const streams = stage.pick(8_000, 50)
  const heap = async (): Promise<number> => await contender.program?.call<number>('memory') ?? NaN
  try {
    await stage.connect(contender, { group: 'warm-up', paths: ['/events?topic=idle'], clients: stage.pick(500, 10) })
    await stage.close('warm-up')
    const before = { heap: await heap(), rss: contender.rss() }
    await stage.connect(contender, { group: 'idle', paths: ['/events?topic=idle'], clients: streams })
    const result = { heap: (await heap() - before.heap) / streams, rss: (contender.rss() - before.rss) / streams }
    await stage.close('idle')
    return result
  } finally {
    await contender.stop()
  }
}
