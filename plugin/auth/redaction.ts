import type { IncomingMessage } from 'node:http'
import type { FastifyInstance } from 'fastify'

/** What stands in logs in place of a credential. */
export const REDACTED = '[redacted]'

/** Query parameters that hold credentials. */
const SECRET_PARAMETERS: ReadonlySet<string> = new Set(['ot', 'access_token'])

type RawRequest = Pick<IncomingMessage, 'url' | 'headers'> & { originalUrl?: string }
type LoggerFactory = FastifyInstance['childLoggerFactory']
type Serialize = (value: unknown) => unknown
type Serializers = Record<string, Serialize | undefined>

/** Credentials each request carried, to be found in what a serializer makes of it. */
const secretsOf = new WeakMap<RawRequest, string[]>()

/**
 * Keeps credentials out of the logs of an app, whoever writes them. Fastify logs a request before any hook runs, and a path
 * that does not exist with its whole URL in the message. So the URL itself is cleared of them when the logger of the request
 * is made: `request.query` has been read by then. What serializers of `req` give, the application's own too, is searched.
 */
export function redactLogs (app: FastifyInstance): void {
  wrapSerializers((app.log as { [pinoSerializers]?: Serializers })[pinoSerializers])
  app.setChildLoggerFactory(redacting(app.childLoggerFactory))
  app.addHook('onRoute', function (route) {
    // Also for an encapsulated plugin, or a route, with a factory of its own.
    route.childLoggerFactory = redacting(route.childLoggerFactory ?? this.childLoggerFactory)
    wrapSerializers(route.logSerializers as Serializers | undefined)
  })
  // The context of paths that do not exist was made before any plugin could set a factory.
  app.addHook('onRequest', async request => redactUrl(request.raw))
}

/** `pino.symbols.serializersSym`, by which libraries reach the serializers of a logger. */
const pinoSerializers: unique symbol = Symbol.for('pino.serializers') as never

const wrapped = new WeakSet<object>()

function redacting (factory: LoggerFactory): LoggerFactory {
  if (wrapped.has(factory)) return factory
  const wrapper: LoggerFactory = function (logger, bindings, options, raw) {
    redactUrl(raw)
    return factory.call(this, logger, bindings, options, raw)
  }
  wrapped.add(wrapper)
  return wrapper
}

function wrapSerializers (serializers: Serializers | undefined): void {
  const serialize = serializers?.req
  if (serializers === undefined || serialize === undefined || wrapped.has(serialize)) return
  const wrapper: Serialize = value => {
    const raw = rawOf(value)
    if (raw === undefined) return serialize(value)
    redactUrl(raw)
    return scrub(serialize(value), secretsOf.get(raw)!)
  }
  wrapped.add(wrapper)
  serializers.req = wrapper
}

/** Of Fastify's request or of Node's own; undefined for what an application calls `req` by itself. */
function rawOf (value: unknown): RawRequest | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const raw: unknown = 'raw' in value ? value.raw : value
  return typeof raw === 'object' && raw !== null && 'headers' in raw ? raw as RawRequest : undefined
}

/** Takes the credentials out of the URL of a request; does nothing the second time. */
function redactUrl (raw: RawRequest): void {
  if (secretsOf.has(raw)) return
  const { authorization, cookie } = raw.headers
  const found = [authorization?.replace(/^\S+ +/, '') ?? '', cookie ?? ''].filter(text => text !== '')
  secretsOf.set(raw, found)
  raw.url = clean(raw.url!, found)
  if (raw.originalUrl !== undefined) raw.originalUrl = clean(raw.originalUrl, found)
}

/** The URL without credentials in its query, which are added to `found` as they stand and decoded. */
function clean (url: string, found: string[]): string {
  const at = url.indexOf('?')
  if (at < 0) return url
  const pairs = url.slice(at + 1).split('&').map(pair => {
    const [name = '', value = ''] = splitAtFirst(pair)
    if (!SECRET_PARAMETERS.has(decode(name).toLowerCase()) || value === '') return pair
    found.push(value, decode(value))
    return `${name}=${REDACTED}`
  })
  return `${url.slice(0, at)}?${pairs.join('&')}`
}

function splitAtFirst (pair: string): string[] {
  const at = pair.indexOf('=')
  return at < 0 ? [pair] : [pair.slice(0, at), pair.slice(at + 1)]
}

function decode (text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

const MAX_DEPTH = 5

/** A copy of plain data in which no text holds a secret. What is deeper than any log is left out. */
function scrub (value: unknown, secrets: readonly string[], depth = 0): unknown {
  if (typeof value === 'string') return secrets.reduce((text, secret) => text.replaceAll(secret, REDACTED), value)
  if (secrets.length === 0 || typeof value !== 'object' || value === null) return value
  if (depth === MAX_DEPTH) return REDACTED
  if (Array.isArray(value)) return value.map(item => scrub(item, secrets, depth + 1))
  if (!isPlain(value)) return value
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, scrub(item, secrets, depth + 1)]))
}

/** Also for what query parsers make: its prototype is an object of its own, with none behind it. */
function isPlain (value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || Object.getPrototypeOf(prototype) === null
}
