import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:net'

/**
 * Below the ephemeral ports of the kernel (from 32768 on Linux). The port 10,000 above must be free, too: a node of a
 * Redis cluster also uses that.
 */
const PORTS = { first: 10_000, count: 10_000 }

/** How many test files may run concurrently without getting the same ports; tap assigns each a number. */
const JOBS = 5
const OWN = {
  first: PORTS.first + (Number(process.env.TAP_JOB_ID ?? 0) % JOBS) * PORTS.count / JOBS, count: PORTS.count / JOBS
}

/** No port is assigned twice, because its server may just be down. */
const given = new Set<number>()

/**
 * A port that is free and stays free while its server is down. A port from the kernel would not: a client that keeps
 * dialling a dead server is eventually assigned that very port for its own end, and is then connected to itself.
 */
export async function stablePort (): Promise<number> {
  for (;;) {
    const port = OWN.first + randomInt(OWN.count)
    if (given.has(port)) continue
    given.add(port)
    if (await isFree(port) && await isFree(port + 10_000)) return port
  }
}

async function isFree (port: number): Promise<boolean> {
  const server = createServer().listen(port, '127.0.0.1')
  const isListening = await once(server, 'listening').then(() => true, () => false)
  if (!isListening) return false
  server.close()
  await once(server, 'close')
  return true
}
