import Fastify from 'fastify'
import sse from 'fastify-resumable-sse'
import topics from 'fastify-resumable-sse/topics'
import { LmdbLog } from 'fastify-resumable-sse/topics/lmdb'
import { pages } from '../shared/pages.ts'

interface Score { match: string, home: number, away: number }
interface Events { score: Score }

const MATCHES = ['reds-blues', 'lions-bears', 'north-south']
const querystring = {
  type: 'object',
  required: ['match'],
  properties: { match: { type: 'array', minItems: 1, items: { type: 'string', enum: MATCHES } } }
}

const app = Fastify({ logger: true })
await app.register(sse)
await app.register(topics, {
  log: new LmdbLog({
    folder: process.env.DATA_DIR ?? 'data/live-scores',
    retention: [{ topics: 'matches/*', maxEvents: 1_000 }]
  })
})
await app.register(pages, { folder: import.meta.dirname })

// Any number of matches on one connection. A newly opened page starts with the latest goals.
app.get<{ Querystring: { match: string[] }, Sse: Events }>('/scores', { schema: { querystring } }, (request, reply) => {
  return reply.sse(app.topics.subscribe<Events>(request.query.match.map(match => `matches/${match}`), { last: 5 }))
})

/** The state of a match is read from its log, so it survives the process. */
async function scoreOf (match: string): Promise<Score> {
  let score = { match, home: 0, away: 0 }
  let page = await app.topics.read(`matches/${match}`)
  while (page.events.length > 0) {
    score = JSON.parse(page.events.at(-1)!.data) as Score
    page = await app.topics.read(`matches/${match}`, { after: page.cursor })
  }
  return score
}

const scores = await Promise.all(MATCHES.map(scoreOf))

/** Scores a goal in one of the matches. A match starts again after nine goals. */
async function goal (): Promise<void> {
  const score = scores[Math.floor(Math.random() * scores.length)]!
  if (score.home + score.away === 9) score.home = score.away = 0
  score[Math.random() < 0.55 ? 'home' : 'away']++
  await app.topics.publish<Events>(`matches/${score.match}`, { event: 'score', data: score })
}

const timer = setInterval(() => { goal().catch((error: unknown) => app.log.error(error)) }, 1_000)
app.addHook('onClose', () => clearInterval(timer))

await app.listen({ port: Number(process.env.PORT ?? 3000) })
