/**
 * True if the Accept-Encoding header (RFC 9110, section 12.5.3) allows gzip, by name or by `*`, and does not prefer an
 * unencoded response.
 */
export function acceptsGzip (acceptEncoding: string | string[] | undefined): boolean {
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
