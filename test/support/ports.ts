import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:net'

/**
 * Below the ports that the kernel gives to connections (from 32768 on, on Linux); the port 10,000 above is there too: a node of
 * a Redis cluster takes it as well.
 */
const PORTS = { first: 10_000, count: 10_000 }

/** How many test files may run at one time without being given the same ports; tap tells each which of them it is. */
const JOBS = 5
const OWN = { first: PORTS.first + (Number(process.env.TAP_JOB_ID ?? 0) % JOBS) * PORTS.count / JOBS, count: PORTS.count / JOBS }

/** No port is given twice: its server may only be down. */
const given = new Set<number>()

/**
 * A port that is free and stays so while its server is down. One from the kernel would not: a client that dials a dead
 * server again and again is given that very port for its own end some day, and is then connected with itself.
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
