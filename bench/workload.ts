/** Told to a server under test. `prepare` puts events there for clients to catch up with; `publish` sends them live. */
export interface ServerOrder { kind: 'prepare' | 'publish', topic: string, events: number, batch: number, marker: string }
export type ServerNews = { kind: 'listening', port: number } | { kind: 'prepared', lastEventId: string | undefined }

/** 100 bytes of data: a line of JSON as a dashboard or a score board would get. */
const PADDING = 'x'.repeat(76)

/** The data of one event; the last one carries the marker. */
export function dataOf (n: number, marker: string | undefined): string {
  return `{"n":${String(n).padStart(7, '0')},"p":"${PADDING}"${marker === undefined ? '' : `,"m":"${marker}"`}}`
}

/** The frame as the topics write it, so that all servers move the same bytes. */
export function frameOf (n: number, marker: string | undefined): Buffer {
  return Buffer.from(`id: ${STARTED}-${n}\ndata: ${dataOf(n, marker)}\n\n`)
}

const STARTED = Date.now()
