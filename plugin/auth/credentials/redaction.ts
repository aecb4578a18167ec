import type { FastifyInstance } from 'fastify'
import { REDACTED, redactUrls, searchFor } from './redact-url.ts'
import type { RawRequest } from './redact-url.ts'

type LoggerFactory = FastifyInstance['childLoggerFactory']
type Serialize = (value: unknown) => unknown
type Serializers = Record<string, Serialize | undefined>

/** Values of the secret parameters in each URL, to be searched for in the output of serializers. */
const parametersOf = new WeakMap<RawRequest, string[]>()

/**
 * Keeps credentials out of the logs of an app, whichever code writes them. Fastify logs a request before any hook runs,
 * and for an unknown path it puts the whole URL into the message. So the credentials are removed from the URL itself
 * when the logger of the request is created: `request.query` has been read by then. The output of all `req`
 * serializers, including the application's own, is searched as well.
 *
 * A client controls neither how often a text is scanned nor how long it becomes: a URL at most triples in length
 * (`ot=e` becomes `ot=[redacted]`), and no other text gets longer.
 */
export function redactLogs (app: FastifyInstance): void {
  wrapSerializers((app.log as { [pinoSerializers]?: Serializers })[pinoSerializers])
  app.setChildLoggerFactory(redacting(app.childLoggerFactory))
  app.addHook('onRoute', function (route) {
    // Also for an encapsulated plugin or a route that has its own factory.
    route.childLoggerFactory = redacting(route.childLoggerFactory ?? this.childLoggerFactory)
    wrapSerializers(route.logSerializers as Serializers | undefined)
  })
  // The context of unknown paths was created before any plugin could set a factory.
  app.addHook('onRequest', async request => { redactOnce(request.raw) })
}

/** `pino.symbols.serializersSym`, through which libraries reach the serializers of a logger. */
const pinoSerializers: unique symbol = Symbol.for('pino.serializers') as never

const wrapped = new WeakSet<object>()

function redacting (factory: LoggerFactory): LoggerFactory {
  if (wrapped.has(factory)) return factory
  const wrapper: LoggerFactory = function (logger, bindings, options, raw) {
    redactOnce(raw)
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
    const parameters = redactOnce(raw)
    return hide(serialize(value), searchFor(raw, parameters))
  }
  wrapped.add(wrapper)
  serializers.req = wrapper
}

/** For Fastify's request or Node's own; undefined for anything else that an application logs as `req`. */
function rawOf (value: unknown): RawRequest | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const raw: unknown = 'raw' in value ? value.raw : value
  return typeof raw === 'object' && raw !== null && 'headers' in raw && 'url' in raw ? raw as RawRequest : undefined
}

/** Removes the credentials from the URL of a request; does nothing if called again. */
function redactOnce (raw: RawRequest): string[] {
  const known = parametersOf.get(raw)
  if (known !== undefined) return known
  const parameters = redactUrls(raw)
  parametersOf.set(raw, parameters)
  return parameters
}

/** Deeper than any log entry. */
const MAX_DEPTH = 5

/** Fields that always contain a credential, as headers or as query parameters. */
const SECRET_FIELDS: ReadonlySet<string> = new Set([
  'authorization',
  'proxy-authorization',
  'cookie',
  'set-cookie',
  'ot',
  'access_token'
])

/** Fields that identify the client and its request; a client must not be able to hide them. */
const PUBLIC_FIELDS: ReadonlySet<string> = new Set([
  'method',
  'host',
  'hostname',
  'ip',
  'ips',
  'protocol',
  'remoteaddress',
  'remoteport',
  'id',
  'reqid',
  'version'
])

/**
 * A copy of plain data without credentials. Values nested more deeply than `MAX_DEPTH` are omitted if there are
 * credentials.
 */
function hide (value: unknown, secrets: RegExp | undefined, depth = 0): unknown {
  if (typeof value === 'string') return secrets === undefined ? value : value.replace(secrets, REDACTED)
  if (typeof value !== 'object' || value === null) return value
  if (depth === MAX_DEPTH) return secrets === undefined ? value : REDACTED
  if (Array.isArray(value)) return value.map(item => hide(item, secrets, depth + 1))
  return isPlain(value) ? hideFields(value, secrets, depth) : value
}

/** A getter that throws must not fail the request, or end the process. */
function hideFields (fields: object, secrets: RegExp | undefined, depth: number): unknown {
  try {
    return Object.fromEntries(
      Object.entries(fields).map(([name, value]) => [name, hideField(name.toLowerCase(), value, secrets, depth)])
    )
  } catch {
    return REDACTED
  }
}

function hideField (name: string, value: unknown, secrets: RegExp | undefined, depth: number): unknown {
  if (PUBLIC_FIELDS.has(name)) return value
  if (SECRET_FIELDS.has(name)) return value === undefined ? undefined : REDACTED
  return hide(value, secrets, depth + 1)
}

/** Also for the objects of query parsers, whose prototype is an object without a prototype. */
function isPlain (value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || Object.getPrototypeOf(prototype) === null
}
