import { SerializerSelector } from '@fastify/fast-json-stringify-compiler'
import type { FastifyInstance, FastifyRequest, FastifySchema, RouteOptions } from 'fastify'
import { errors } from './errors.ts'
import { show } from '../common/show.ts'
import { resolveRouteOptions } from './options.ts'
import type { ResolvedOptions, SseRouteOptions } from './options.ts'
import { encodeEvent } from './wire.ts'
import type { Serializer, WireEvent } from './wire.ts'

/** What holds for one route: its options over the plugin's, and how its events are serialized. */
export interface RouteSettings {
  options: ResolvedOptions
  serializers: Map<string, Serializer>
}

const kSettings = Symbol('fastify-resumable-sse.route-settings')

interface SettingsConfig { sse?: SseRouteOptions, [kSettings]?: RouteSettings }

/**
 * The settings of every route, made when the route is added, so that a bad option fails the start.
 * Event schemas are compiled when the instance is ready, because a `$ref` may name a schema added later.
 */
export class RouteSettingsTable {
  readonly #base: RouteSettings
  readonly #toCompile: {
    instance: FastifyInstance
    route: RouteOptions
    settings: RouteSettings
    events: Record<string, unknown>
  }[] = []

  /** The longest time between heartbeats on any route; 0 when they are off on one. */
  heartbeatMs: number

  constructor (options: ResolvedOptions) {
    this.heartbeatMs = options.heartbeatMs
    this.#base = { options, serializers: new Map() }
  }

  /** For the `onRoute` hook; `instance` is the one the route belongs to. True when the route says that it streams. */
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

  /** For the `onReady` hook. Throws what the compiler throws for a schema that is not valid. */
  compile (): void {
    for (const { instance, route, settings, events } of this.#toCompile.splice(0)) {
      const compile =
        route.serializerCompiler ?? instance.serializerCompiler ?? SerializerSelector()(instance.getSchemas(), {})
      for (const [name, schema] of Object.entries(events)) {
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
   * The settings for a request. A route added before this plugin escapes its `onRoute` hook, so options on it are
   * refused.
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

/** The encoder for the events of one stream: an event with a schema goes through its compiled serializer. */
export function encoderFor ({ options, serializers }: RouteSettings): (event: WireEvent) => Buffer {
  if (serializers.size === 0) return event => encodeEvent(event, options.serializer)
  return event => encodeEvent(event, serializers.get(event.event || 'message') ?? options.serializer)
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
