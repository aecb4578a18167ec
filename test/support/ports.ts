import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:net'

/**
 * Below the ports that the kernel gives to connections (from 32768 on, on Linux); the port 10,000 above is there too: a node of
 * a Redis cluster takes it as well.
 */
const PORTS = { first: 10_000, count: 12_000 }

/**
 * A port that is free and stays so while its server is down. One from the kernel would not: a client that dials a dead
 * server again and again is given that very port for its own end some day, and is then connected with itself.
 */
export async function stablePort (): Promise<number> {
  for (;;) {
    const port = PORTS.first + randomInt(PORTS.count)
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
