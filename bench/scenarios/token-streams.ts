import type { Received } from '../load/group.ts'
import { atMost, median } from '../scenario.ts'
import type { Scenario } from '../scenario.ts'
import type { TokenLoad } from '../servers/tokens.ts'
import type { Stage } from '../stage.ts'

const PER_SECOND = 30
/** Values of the option `batchMs` of `produce()`. */
const VARIANTS = { 'batches of 20 ms (default)': 20, 'batches of 100 ms': 100, 'not batched': 0 } as const
type Variant = keyof typeof VARIANTS

interface Cost { microsPerToken: number, tokensPerSecond: number, firstP50: number, firstP99: number }

/** AI answers: many producers, each with one reader. */
export const tokenStreams: Scenario = {
  name: 'token-streams',
  title: 'Token streams: 1,000 producers of 30 tokens per second, one reader each',
  about: '`app.topics.produce()` with one source for each topic. Time to first token is measured from the source to\n' +
    'the client. CPU includes the sources, which are timers, and Redis.',
  async run (stage) {
    const names = Object.keys(VARIANTS) as Variant[]
    const rounds = await stage.alternate(
      names, (name, round) => measure(stage, VARIANTS[name], `${VARIANTS[name]}-${round}`), { rounds: 2 }
    )
    const of = (name: Variant, pick: (cost: Cost) => number): number => median(rounds[name].map(pick))
    const cost = (name: Variant): number => of(name, one => one.microsPerToken)
    return {
      tables: [{
        columns: ['', 'CPU, µs per token', 'tokens/s', 'first token, p50, ms', 'first token, p99, ms'],
        rows: names.map(name => [
          name,
          cost(name),
          of(name, one => one.tokensPerSecond),
          of(name, one => one.firstP50),
          of(name, one => one.firstP99)
        ])
      }],
      goals: [
        atMost('tokens', 'CPU per token, batches of 100 ms to none', cost('batches of 100 ms') / cost('not batched'), 1)
      ]
    }
  }
}

async function measure (stage: Stage, batchMs: number, prefix: string): Promise<Cost> {
  const ours = await stage.contender('ours')
  const streams = stage.pick(1_000, 10)
  const tokens = stage.pick(PER_SECOND * 4, 5)
  const topics = Array.from({ length: streams }, (_, at) => `tokens-${prefix}-${at}`)
  const paths = topics.map(topic => `/events?topic=${topic}`)
  await stage.connect(ours, { group: 'tokens', paths, clients: streams, latencyEvery: 1 })
  await stage.clients.call('mark', { group: 'tokens', events: tokens })
  const cpuBefore = ours.cpu()
  const load: TokenLoad = { topics, tokens, perSecond: PER_SECOND, batchMs }
  const seconds = await ours.program!.call<number>('tokens', load)
  const { firstP50, firstP99 } = await stage.clients.call<Received>('received', { group: 'tokens' })
  const cpu = ours.cpu() - cpuBefore
  await stage.close('tokens')
  const all = streams * tokens
  return { microsPerToken: cpu * 1e6 / all, tokensPerSecond: all / seconds, firstP50, firstP99 }
}
