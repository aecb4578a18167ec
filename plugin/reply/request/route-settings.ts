import type { FastifyInstance, FastifyRequest, FastifySchema, RouteOptions } from 'fastify'
import { errors } from '../errors.ts'
import { show } from '../../common/show.ts'
import { resolveRouteOptions } from '../options.ts'
import type { ResolvedOptions, SseRouteOptions } from '../options.ts'
import { encodeEvent } from '../wire.ts'
import type { Serializer, WireEvent } from '../wire.ts'

/** The settings of one route: its options combined with the plugin's, and how its events are serialized. */
export interface RouteSettings {
  options: ResolvedOptions
  serializers: Map<string, Serializer>
}

const kSettings = Symbol('fastify-resumable-sse.route-settings')

interface SettingsConfig { sse?: SseRouteOptions, [kSettings]?: RouteSettings }

/**
 * The settings of every route, created when the route is added, so that a bad option fails the start. Event schemas are
 * compiled when the instance is ready, because a `$ref` may name a schema added later.
 */
export class RouteSettingsTable {
  readonly #base: RouteSettings
  readonly #toCompile: {
    instance: FastifyInstance
    route: RouteOptions
    settings: RouteSettings
    events: Record<string, unknown>
  }[] = []

  /** The longest heartbeat interval of any route; 0 if heartbeats are disabled on one. */
  heartbeatMs: number

  constructor (options: ResolvedOptions) {
    this.heartbeatMs = options.heartbeatMs
    this.#base = { options, serializers: new Map() }
  }

  /**
   * For the `onRoute` hook; `instance` is the one that the route belongs to. Returns true if the route declares that it
   * streams.
   */
  add (instance: FastifyInstance, route: RouteOptions): boolean {
    const given = givenOptions(route)
    if (given === undefined) return false
    const { options, events } = resolveRouteOptions(
      `route ${String(route.method)} ${route.url}`,
      this.#base.options,
      given
    )
    const settings: RouteSettings = { options, serializers: new Map() }
    this.#toCompile.push({ instance, route, settings, events })
    route.config = { ...route.config, [kSettings]: settings } as NonNullable<RouteOptions['config']>
    this.heartbeatMs = longer(this.heartbeatMs, options.heartbeatMs)
    return true
  }

  /** For the `onReady` hook. Rejects with the compiler's error for an invalid schema. */
  async compile (): Promise<void> {
    for (const { instance, route, settings, events } of this.#toCompile.splice(0)) {
      const named = Object.entries(events)
      if (named.length === 0) continue
      const compile = route.serializerCompiler ?? instance.serializerCompiler ?? (await defaultCompiler(instance))
      for (const [name, schema] of named) {
        settings.serializers.set(
          name,
          compile({
            schema: schema as FastifySchema,
            method: String(route.method),
            url: route.url,
            httpStatus: '200',
            contentType: 'text/event-stream'
          })
        )
      }
    }
  }

  /**
   * The settings for a request. A route that was added before this plugin bypasses its `onRoute` hook, so options on it
   * are an error.
   */
  of (request: FastifyRequest): RouteSettings {
    const config = request.routeOptions.config as SettingsConfig | undefined
    if (config?.[kSettings]) return config[kSettings]
    if (config?.sse === undefined) return this.#base
    throw new errors.FST_SSE_BAD_OPTION(
      `route ${request.routeOptions.url}`,
      'sse',
      'given on a route added after this plugin is registered',
      show(config.sse)
    )
  }
}

/** Encodes an event of a stream: one with a schema goes through its compiled serializer. */
export function encodeFor ({ options, serializers }: RouteSettings, event: WireEvent): Buffer {
  const own = serializers.size === 0 ? undefined : serializers.get(event.event || 'message')
  return encodeEvent(event, own ?? options.serializer)
}

/** Loaded for the first event schema, because it takes three times as long as the rest of the library. */
async function defaultCompiler (instance: FastifyInstance) {
  const { SerializerSelector } = await import('@fastify/fast-json-stringify-compiler')
  return SerializerSelector()(instance.getSchemas(), {})
}

function longer (one: number, other: number): number {
  return one === 0 || other === 0 ? 0 : Math.max(one, other)
}

function givenOptions (route: RouteOptions): SseRouteOptions | undefined {
  const inConfig = (route.config as SettingsConfig | undefined)?.sse
  if (inConfig !== undefined && route.sse !== undefined) {
    throw new errors.FST_SSE_BAD_OPTION(`route ${route.url}`, 'sse', 'given once', 'both "sse" and "config.sse"')
  }
  return route.sse !== undefined ? route.sse : inConfig
}
