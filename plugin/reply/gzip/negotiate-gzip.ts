import type { FastifyReply } from 'fastify'

/**
 * The minimum size from which frames are compressed, or undefined for no compression; sets the corresponding headers.
 */
export function negotiateGzip (reply: FastifyReply, gzipMinBytes: number | false): number | undefined {
  if (gzipMinBytes === false || reply.hasHeader('content-encoding')) return undefined
  const { 'accept-encoding': accepted } = reply.request.headers
  addVary(reply, 'accept-encoding')
  if (!acceptsGzip(accepted)) return undefined
  reply.header('content-encoding', 'gzip')
  return gzipMinBytes
}

function addVary (reply: FastifyReply, name: string): void {
  const fields = [reply.getHeader('vary') ?? []].flat().join(',').split(',').map(field => field.trim()).filter(Boolean)
  const isThere = fields.some(field => field === '*' || field.toLowerCase() === name)
  if (!isThere) reply.header('vary', [...fields, name].join(', '))
}

/**
 * True if the Accept-Encoding header (RFC 9110, section 12.5.3) allows gzip, by name or by `*`, and does not prefer an
 * unencoded response.
 */
function acceptsGzip (acceptEncoding: string | string[] | undefined): boolean {
  const weights = new Map<string, number>()
  for (const item of [acceptEncoding ?? []].flat().join(',').toLowerCase().split(',')) {
    const [coding = '', ...parameters] = item.split(';').map(part => part.trim())
    weights.set(coding, weightOf(parameters))
  }
  const gzip = weights.get('gzip') ?? weights.get('x-gzip') ?? weights.get('*') ?? 0
  return gzip > 0 && gzip >= (weights.get('identity') ?? 0)
}

/** An invalid weight allows nothing. */
function weightOf (parameters: readonly string[]): number {
  const weight = parameters.find(parameter => parameter.startsWith('q='))
  return weight === undefined ? 1 : Number(/^q=(0(\.\d{0,3})?|1(\.0{0,3})?)$/.exec(weight)?.[1] ?? 0)
}
