import type { Scenario } from '../scenario.ts'
import { append } from './append.ts'
import { compression } from './compression.ts'
import { fanOut } from './fan-out.ts'
import { growth } from './growth.ts'
import { httpPublish } from './http-publish.ts'
import { latency } from './latency.ts'
import { memory } from './memory.ts'
import { oneAtATime } from './one-at-a-time.ts'
import { ownSets } from './own-sets.ts'
import { resumeStorm } from './resume-storm.ts'
import { stalledClients } from './stalled-clients.ts'
import { start } from './start.ts'
import { tokenStreams } from './token-streams.ts'

/** All scenarios, in the order of the document. */
export const scenarios: readonly Scenario[] = [
  fanOut,
  oneAtATime,
  ownSets,
  resumeStorm,
  compression,
  memory,
  append,
  httpPublish,
  latency,
  stalledClients,
  tokenStreams,
  start,
  growth
]
