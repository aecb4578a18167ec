// The built service in a separate process that reports its memory and handles on request. Plain JavaScript, so that no
// loader of the tests affects the measurement; run with --expose-gc.
import { buildService, readConfig } from '../../../service/dist/index.js'

const app = await buildService(readConfig({
  ...process.env, LOG: 'memory', LOG_LEVEL: 'warn', PORT: '0', MAX_STREAMS: '0', MAX_STREAMS_PER_ADDRESS: '0'
}))
await app.listen({ host: '127.0.0.1', port: 0 })

/** Measures after everything possible was released. */
async function measure () {
  for (let round = 0; round < 3; round++) {
    globalThis.gc()
    await new Promise(resolve => setImmediate(resolve))
  }
  const handles = process.getActiveResourcesInfo()
  return { heapBytes: process.memoryUsage().heapUsed, handles: handles.toSorted() }
}

process.on('message', async () => { process.send(await measure()) })
process.on('disconnect', () => process.exit())
process.send({ port: app.server.address().port })
