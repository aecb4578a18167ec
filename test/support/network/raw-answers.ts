/** One response as received over a bare connection. */
export interface RawAnswer { status: number, headers: Map<string, string>, body: string }

/**
 * The responses in the text received on a connection, in order. `methods` are those of the requests, because a response
 * to HEAD has no body; the default is GET. The last response may be incomplete. Throws for text that is not a response.
 */
export function answersIn (text: string, methods: readonly string[]): RawAnswer[] {
  const answers: RawAnswer[] = []
  let rest = Buffer.from(text)
  while (rest.length > 0) {
    const end = rest.indexOf('\r\n\r\n')
    const head = rest.toString('latin1', 0, end === -1 ? rest.length : end)
    const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(head)?.[1])
    if (Number.isNaN(status)) throw new Error(`this is no answer: ${JSON.stringify(rest.toString().slice(0, 200))}`)
    const headers = new Map(head.split('\r\n')
      .slice(1)
      .map(line => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]))
    rest = end === -1 ? Buffer.alloc(0) : rest.subarray(end + 4)
    if (status === 100) continue
    // A request that cannot be parsed is rejected before it is known to be HEAD.
    const isBare = status === 204 || (methods[answers.length] === 'HEAD' && rest[0] !== '{'.charCodeAt(0))
    const { body, length } = isBare ? { body: '', length: 0 } : bodyIn(rest, headers)
    answers.push({ status, headers, body })
    rest = rest.subarray(length)
  }
  return answers
}

function bodyIn (bytes: Buffer, headers: ReadonlyMap<string, string>): { body: string, length: number } {
  if (headers.get('transfer-encoding') === 'chunked') return chunksIn(bytes)
  const length = Math.min(bytes.length, Number(headers.get('content-length') ?? bytes.length))
  return { body: bytes.toString('utf8', 0, length), length }
}

function chunksIn (bytes: Buffer): { body: string, length: number } {
  let body = ''
  let at = 0
  for (;;) {
    const end = bytes.indexOf('\r\n', at)
    const size = end === -1 ? 0 : parseInt(bytes.toString('latin1', at, end), 16)
    if (!(size > 0)) return { body, length: end === -1 ? bytes.length : Math.min(bytes.length, end + 4) }
    body += bytes.toString('utf8', end + 2, end + 2 + size)
    at = end + 4 + size
  }
}
