import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib'
import { operationsOf } from './openapi.ts'
import type { OpenapiDocument, Operation, Parameter, Schema } from './openapi.ts'

/** Bytes for a separate connection. */
export interface FuzzCase {
  method: string
  bytes: Buffer
  /** True if the request may have no end: the client must then end its side of the connection. */
  isOpenEnded: boolean
}

type Random = (limit: number) => number

/**
 * Values that often break programs: empty, long, control bytes, other scripts, numbers that are not, keys of
 * prototypes.
 */
const JUNK = ['', ' ', '\t', '\0', '\n', '\r\nx: y', '%', '%00', '%zz', 'é', '🙂', '\u2028', '\ud800', '../../etc', '/', '//', '?', '#', '&', '=', '$', '*', '{}', '[]', '-1', '0', '1e999', '007', '9'.repeat(40),
  'NaN', 'null', 'true', '__proto__', 'constructor', 'toString', 'stream.open', "' OR 1=1", '${7*7}', 'x'.repeat(300), 'y'.repeat(5_000), 'a,b', 'text/event-stream', '1-1', '0-0', '99999999999999-1'] // eslint-disable-line no-template-curly-in-string
const JUNK_VALUES: readonly unknown[] = [
  null, true, 0, -1, 1.5, 1e308, [], [[]], {}, { data: {} }, { __proto__: null, length: 3 }, ...JUNK
]
const METHODS = [
  'GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'PROPFIND', 'LINK', 'M-SEARCH', 'CONNECT', 'get',
  'XYZ'
]
const TYPES = [
  'application/json', 'application/x-ndjson', 'text/plain', 'text/plain; charset=utf-16', 'application/json; charset="',
  'text/html', 'multipart/form-data; boundary=x', 'application/xml', '', '/', 'a/b/c', 'application/json, text/plain'
]
const CODINGS = ['gzip', 'deflate', 'br', 'identity', 'x-gzip', 'zstd', 'gzip, br', '']
const COMPRESS: Partial<Record<string, (bytes: Buffer) => Buffer>> = {
  gzip: gzipSync, 'x-gzip': gzipSync, deflate: deflateSync, br: brotliCompressSync
}
const HEADERS = [
  'Last-Event-ID', 'Idempotency-Key', 'Accept', 'Origin', 'Authorization', 'Cookie', 'Expect', 'Content-Encoding',
  'Range', 'If-None-Match', 'X-Forwarded-For', 'Upgrade', 'Access-Control-Request-Method', 'Host', 'Transfer-Encoding',
  'Content-Length', 'X'
]

/** Encoded for a URL, in which unpaired surrogates are not possible. */
const encode = (text: string): string => encodeURIComponent(Buffer.from(text).toString())

/**
 * Draws requests from an OpenAPI document: valid ones, nearly valid ones, and invalid ones. The same random numbers
 * produce the same requests.
 */
export class Fuzzer {
  readonly #document: OpenapiDocument
  readonly #random: Random
  readonly #credentials: readonly string[]

  /**
   * `credentials` are valid header lines, for a service that requires them: they are sent, or invalid ones, or none.
   */
  constructor (document: OpenapiDocument, random: Random, credentials: readonly string[] = []) {
    this.#document = document
    this.#random = random
    this.#credentials = credentials
  }

  draw (): FuzzCase {
    return this.#chance(15) ? this.#drawGarbage() : this.#drawRequest()
  }

  #drawRequest (): FuzzCase {
    const operations = operationsOf(this.#document)
    const publishes = operations.filter(({ operation }) => operation.requestBody !== undefined)
    const { path, method: documented, operation } = this.#pick(this.#chance(3) ? publishes : operations)
    const method = this.#chance(8) ? this.#pick(METHODS) : documented
    const target = this.#drawPath(path) + this.#drawQuery(operation)
    const { headers, body, isOpenEnded } = this.#drawBody(operation)
    const lines = [
      `${method} ${target} HTTP/1.1`,
      'Host: localhost',
      'Connection: close',
      ...headers,
      ...this.#drawCredentials(),
      ...this.#drawHeaders(operation)
    ]
    const isOdd = lines.some(
      line => /^(Host|Transfer-Encoding|Content-Length|Upgrade|Expect): (?!localhost)/.test(line)
    ) || /[\0\r\n]/.test(lines.join(''))
    return {
      method,
      bytes: Buffer.concat([Buffer.from(lines.join('\r\n') + '\r\n\r\n'), body]),
      isOpenEnded: isOpenEnded || isOdd || method === 'CONNECT' || /\s/.test(target)
    }
  }

  #drawCredentials (): string[] {
    if (this.#credentials.length === 0 || this.#chance(5)) return []
    const good = this.#pick(this.#credentials)
    if (!this.#chance(3)) return [good]
    const [, start = '', token = ''] = /^(.*[ =])(\S+)$/.exec(good) ?? []
    return this.#pick([
      () => [start + this.#junkText()],
      () => [start + this.#damage(Buffer.from(token)).toString('latin1')],
      () => [start + token.split('.').with(this.#random(3), this.#junkText()).join('.')],
      () => [good, good],
      () => [good.replace('Bearer', this.#junkText())]
    ])()
  }

  #drawPath (path: string): string {
    const topic = this.#chance(4) ? this.#junkText() : this.#pick(['fuzz', 'fuzz/a', 'fuzz-b'])
    const filled = path.replace('{topic}', this.#chance(12) ? topic : encode(topic))
    return this.#chance(20) ? filled + this.#junkText() : filled
  }

  #drawQuery (operation: Operation): string {
    const pairs = (operation.parameters ?? [])
      .filter(parameter => parameter.in === 'query')
      .flatMap(parameter => this.#drawParameter(parameter))
    if (this.#chance(10)) pairs.push(`${encode(this.#junkText())}=1`)
    return pairs.length === 0 ? '' : `?${pairs.join('&')}`
  }

  #drawParameter ({ name, required, schema, example }: Parameter & { required?: boolean }): string[] {
    if (!this.#chance(required === true ? 1 : 3)) return []
    const values = this.#chance(8)
      ? [this.#junkText(), this.#junkText()]
      : [
          this.#chance(4) ? this.#junkText() : textOf(example ?? this.#drawValue(schema))
        ]
    return values.map(value => `${name}=${this.#chance(20) ? value : encode(value)}`)
  }

  #drawHeaders (operation: Operation): string[] {
    const own = (operation.parameters ?? [])
      .filter(parameter => parameter.in === 'header' && this.#chance(3))
      .map(({ name, example }) => `${name}: ${this.#chance(3) ? this.#junkText() : String(example)}`)
    const other = Array.from(
      { length: this.#chance(4) ? this.#random(4) : 0 },
      () => `${this.#pick(HEADERS)}: ${this.#junkText()}`
    )
    if (this.#chance(60)) other.push(`X-Huge: ${'x'.repeat(20_000)}`)
    if (this.#chance(60)) other.push(...Array.from({ length: 900 }, (_, at) => `X-${at}: 1`))
    return [...own, ...other]
  }

  #drawBody ({ requestBody }: Operation): { headers: string[], body: Buffer, isOpenEnded: boolean } {
    const types = Object.keys(requestBody?.content ?? {})
    if (types.length === 0 && !this.#chance(10)) return { headers: [], body: Buffer.alloc(0), isOpenEnded: false }
    const type = types.length === 0 || this.#chance(10) ? this.#pick(TYPES) : this.#pick(types)
    const plain = this.#drawContent(type, requestBody?.content[type]?.schema ?? {})
    const coding = this.#chance(5) ? this.#pick(CODINGS) : undefined
    const compressed = coding === undefined ? plain : (COMPRESS[coding]?.(plain) ?? plain)
    const sent = coding !== undefined && this.#chance(3) ? this.#damage(compressed) : compressed
    return this.#frame(sent, [`Content-Type: ${type}`, ...coding === undefined ? [] : [`Content-Encoding: ${coding}`]])
  }

  /** Adds a length or chunks to a body, mostly correct ones. */
  #frame (body: Buffer, headers: string[]): { headers: string[], body: Buffer, isOpenEnded: boolean } {
    if (this.#chance(5)) {
      const size = this.#chance(6) ? this.#pick(['zz', '-1', 'fffffffff', '0', '']) : body.length.toString(16)
      const end = this.#chance(6) ? '' : '0\r\n\r\n'
      return {
        headers: [...headers, 'Transfer-Encoding: chunked'],
        body: Buffer.concat([Buffer.from(`${size}\r\n`), body, Buffer.from(`\r\n${end}`)]),
        isOpenEnded: true
      }
    }
    const isWrong = this.#chance(10)
    const length = isWrong
      ? this.#pick([String(body.length + 7), String(Math.max(0, body.length - 7)), '-1', 'x', '99999999999', '1e3', ''])
      : String(body.length)
    return { headers: [...headers, `Content-Length: ${length}`], body, isOpenEnded: isWrong }
  }

  #drawContent (type: string, schema: Schema): Buffer {
    if (this.#chance(12)) return this.#damage(Buffer.from(this.#junkText()))
    const value = this.#chance(3) ? this.#mutate(this.#drawValue(schema)) : this.#drawValue(schema)
    if (type === 'text/plain') return Buffer.from(typeof value === 'string' ? value : JSON.stringify(value) ?? '')
    if (type === 'application/x-ndjson' && Array.isArray(value)) {
      return Buffer.from(value.map(line => JSON.stringify(line)).join(this.#chance(6) ? '\n\n\r\n' : '\n'))
    }
    const text = JSON.stringify(value) ?? ''
    return this.#chance(12) ? this.#damage(Buffer.from(text)) : Buffer.from(text)
  }

  /** A value that matches the schema, or nearly does: rules for strings are left to the examples. */
  #drawValue (schema: Schema): unknown {
    const { $ref, type, enum: choices, examples, then, else: otherwise } = schema
    const { minimum, maximum, items, properties, maxItems } = schema
    if ($ref !== undefined) return this.#drawValue(this.#document.components.schemas[$ref.split('/').at(-1)!]!)
    if (then !== undefined) return this.#drawValue((this.#chance(2) ? then : otherwise) as Schema)
    if (examples !== undefined && !this.#chance(3)) return structuredClone(this.#pick(examples))
    if (choices !== undefined && !this.#chance(3)) return this.#pick(choices)
    switch (String(type)) {
      case 'array': return Array.from({
        length: this.#chance(40) ? Number(maxItems) + 1 : this.#random(5)
      }, () => this.#drawValue(items as Schema))
      case 'object': return Object.fromEntries(Object.entries(properties as Record<string, Schema>)
        .filter(() => !this.#chance(4))
        .map(([name, schema]) => [name, this.#drawValue(schema)]))
      case 'integer': return this.#pick([
        minimum, maximum, Number(minimum) - 1, Number(maximum) + 1, this.#random(1_000)
      ])
      case 'string': return this.#junkText()
      default: return this.#pick(JUNK_VALUES)
    }
  }

  /** Replaces one part of a value by junk. */
  #mutate (value: unknown): unknown {
    if (Array.isArray(value) && value.length > 0 && !this.#chance(4)) {
      return value.with(this.#random(value.length), this.#mutate(value[0]))
    }
    if (typeof value !== 'object' || value === null || this.#chance(3)) return this.#pick(JUNK_VALUES)
    return {
      ...value,
      [this.#chance(3) ? this.#junkText() : this.#pick([...Object.keys(value), 'data'])]: this.#pick(JUNK_VALUES)
    }
  }

  #damage (bytes: Buffer): Buffer {
    if (bytes.length === 0 || this.#chance(3)) return bytes.subarray(0, this.#random(bytes.length + 1))
    const damaged = Buffer.from(bytes)
    damaged[this.#random(damaged.length)] = this.#random(256)
    return damaged
  }

  #drawGarbage (): FuzzCase {
    const good = this.#drawRequest().bytes
    const bytes = this.#pick([
      () => Buffer.from(Array.from({ length: this.#random(400) }, () => this.#random(256))),
      () => good.subarray(0, this.#random(good.length)),
      () => this.#damage(good),
      () => Buffer.concat([good, good]),
      () => Buffer.from(this.#junkText() + '\r\n\r\n')
    ])()
    return { method: 'GARBAGE', bytes, isOpenEnded: true }
  }

  #junkText (): string { return this.#pick(JUNK) }

  #pick<T> (values: readonly T[]): T { return values[this.#random(values.length)]! }

  /** True once in this many calls, on average. */
  #chance (times: number): boolean { return this.#random(times) === 0 }
}

/** Junk can be an object without a prototype, which `String()` refuses. */
function textOf (value: unknown): string {
  return typeof value === 'object' ? JSON.stringify(value) : String(value)
}
