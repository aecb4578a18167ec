import fp from 'fastify-plugin'
import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import type {
  ContextConfigDefault, FastifySchema as RouteSchema, FastifyTypeProvider, FastifyTypeProviderDefault,
  RawReplyDefaultExpression, RawRequestDefaultExpression, RawServerBase, RawServerDefault
} from 'fastify'
import type { FastifyReplyType, ResolveFastifyReplyType } from 'fastify/types/type-provider.js'
import { FASTIFY_RANGE } from './common/fastify-range.ts'
import { errors } from './reply/errors.ts'
import { resolvePluginOptions } from './reply/options.ts'
import type { SseOptions, SsePluginOptions, SseRouteOptions } from './reply/options.ts'
import { acceptsSse, readLastEventId } from './reply/request/negotiate.ts'
import { RouteSettingsTable } from './reply/request/route-settings.ts'
import { StreamDrain } from './reply/stream/stream-drain.ts'
import { StreamRegistry } from './reply/stream/open-streams.ts'
import { HeartbeatTimer } from './reply/stream/heartbeat.ts'
import { checkGrantRoutes } from './reply/request/grant-routes.ts'
import { watchHandler } from './reply/handler.ts'
import { startReply } from './reply/reply.ts'
import { decorateState } from './reply/reply-state.ts'
import { keepEventSources } from './reply/route-errors.ts'
import { OpenConnections } from './reply/response/open-connections.ts'
import type { SseSource } from './reply/source.ts'
import type { SseStream } from './reply/stream/sse-stream.ts'
import type { AnyEvents, SseEvents } from './reply/events.ts'

export { MAX_RETRY_MS, RESET_ID } from './reply/wire.ts'
export { defineError } from './common/define-error.ts'
export { show } from './common/show.ts'
export { IN_BAND } from './common/in-band.ts'
export type { ErrorReport, InBandData } from './common/in-band.ts'
export { reportOf } from './reply/error-report.ts'
export type { WireEvent, Serializer } from './reply/wire.ts'
export type { SseOptions, SsePluginOptions, SseRouteOptions } from './reply/options.ts'
export type { Frame, FrameSink } from './reply/frame.ts'
export type { SlowClientPolicy } from './reply/stream/stream-policy.ts'
export type { OpenableSource, OpenedStream, SourceRun, SseSource } from './reply/source.ts'
export type { SseStream } from './reply/stream/sse-stream.ts'
export type { CloseReason, StreamOwner } from './reply/stream/stream-init.ts'
export type { CloseListener, OpenStreams } from './reply/stream/open-streams.ts'
export type { AnyEvents, SseEvent, SseEvents, SseItem } from './reply/events.ts'
export type { SseErrorCode } from './reply/errors.ts'
export type { StreamOpenMessage, StreamCloseMessage } from './reply/reply.ts'

const NAME = 'fastify-resumable-sse'
const RIVAL = '@fastify/sse'

const plugin: FastifyPluginAsync<SsePluginOptions> = async function (app, given) {
  refuseConflict(app)
  checkGrantRoutes(app)
  const { options, drain } = resolvePluginOptions(given)
  const routes = new RouteSettingsTable(options)
  const registry = new StreamRegistry()
  const heartbeats = new HeartbeatTimer()

  decorateState(app)
  app.decorate('sse', { streams: registry })
  app.decorateReply('sse', function (this: FastifyReply, source?: unknown, callOptions?: SseOptions) {
    return startReply({ reply: this, source, callOptions, settings: routes.of(this.request), registry, heartbeats })
  } as FastifyReply['sse'])
  app.decorateRequest('lastEventId', { getter (this: FastifyRequest) { return readLastEventId(this) } })
  app.decorateRequest('acceptsSse', { getter (this: FastifyRequest) { return acceptsSse(this.headers.accept) } })

  app.addHook('onRoute', function (route) {
    refuseRival(this)
    if (routes.add(this, route)) keepEventSources(this, route)
    watchHandler(route)
  })
  app.addHook('onReady', async () => {
    refuseRival(app)
    await routes.compile()
    warnOfShortTimeout(app, routes.heartbeatMs)
  })
  closeInTime(app, new StreamDrain(registry, drain), drain.drainMs)
}

/** On close, ends all streams, then closes the connections that would delay `app.close()`. */
function closeInTime (app: FastifyInstance, drain: StreamDrain, drainMs: number): void {
  const connections = new OpenConnections(app)
  let stop: (() => void) | undefined
  app.addHook('preClose', async () => {
    const drained = drain.drain()
    stop = connections.destroyAfter(drainMs)
    await drained
    connections.closeIdle()
  })
  app.addHook('onClose', async () => stop?.())
}

/**
 * Node destroys a socket that has been idle for `connectionTimeout`, so an idle stream would be closed before its first
 * heartbeat.
 */
function warnOfShortTimeout (app: FastifyInstance, heartbeatMs: number): void {
  // Fastify fills in its default.
  const timeoutMs = app.initialConfig.connectionTimeout!
  if (timeoutMs === 0 || (heartbeatMs > 0 && timeoutMs > heartbeatMs)) return
  const heartbeats = heartbeatMs === 0 ? 'heartbeats are off' : `heartbeatMs is ${heartbeatMs}`
  app.log.warn(
    `connectionTimeout (${timeoutMs} ms) cuts idle event streams, because ${heartbeats}: ` +
      'set connectionTimeout to 0, or heartbeatMs to a lower value'
  )
}

function refuseConflict (app: FastifyInstance): void {
  refuseRival(app)
  // While a plugin is being registered the instance counts it as registered; its decorators are not there yet.
  if (app.hasReplyDecorator('sse')) {
    throw new errors.FST_SSE_CONFLICT(
      app.hasRequestDecorator('acceptsSse') ? 'itself (it is registered already)' : 'another plugin'
    )
  }
}

/** `@fastify/sse` sets `reply.sse` on each request, so Fastify cannot detect the conflict. */
function refuseRival (app: FastifyInstance): void {
  if (app.hasPlugin(RIVAL)) throw new errors.FST_SSE_CONFLICT(RIVAL)
}

/**
 * The Fastify plugin: `reply.sse()`, `request.lastEventId`, `request.acceptsSse`, `app.sse.streams`. Registration
 * fails with `FST_SSE_BAD_OPTION` for an option out of range, and with `FST_SSE_CONFLICT` together with `@fastify/sse`.
 */
const resumableSse: FastifyPluginAsync<SsePluginOptions> = fp(plugin, { name: NAME, fastify: FASTIFY_RANGE })
export default resumableSse
export { resumableSse }

/** The events a route declares in its generic: `app.get<{ Sse: { tick: number } }>(…)`. */
type EventsOf<RouteGeneric> = RouteGeneric extends { Sse: infer E extends SseEvents } ? E : AnyEvents

/**
 * What `reply.sse(source)` returns: the stream when there is no source, else the reply; also for a source of type
 * `any`.
 */
type Sent<S, Stream, Reply> = 0 extends (1 & S) ? Reply : S extends undefined ? Stream : Reply

// RouteSchema is an alias because other plugins (@fastify/swagger) add to `FastifySchema` in such a block: under its
// own name tsc takes it for a local one and leaves the import out of the published declarations.
declare module 'fastify' {
  interface FastifyReply<
    RouteGeneric extends RouteGenericInterface = RouteGenericInterface,
    RawServer extends RawServerBase = RawServerDefault,
    RawRequest extends RawRequestDefaultExpression<RawServer> = RawRequestDefaultExpression<RawServer>,
    RawReply extends RawReplyDefaultExpression<RawServer> = RawReplyDefaultExpression<RawServer>,
    ContextConfig = ContextConfigDefault,
    SchemaCompiler extends RouteSchema = RouteSchema,
    TypeProvider extends FastifyTypeProvider = FastifyTypeProviderDefault,
    ReplyType extends FastifyReplyType = ResolveFastifyReplyType<TypeProvider, SchemaCompiler, RouteGeneric>
  > {
    /**
     * Streams Server-Sent Events. `return reply.sse(source)` streams a source to its end; `reply.sse()` returns
     * the stream for manual use (return the reply then). Throws before anything is sent: 406 if the Accept header
     * excludes `text/event-stream`, 500 for a bad option or source.
     */
    // One signature for each number of arguments: with a single candidate the error names the data that does not fit,
    // and TypeScript fixes what a generator yields at the first overload it tries.
    sse: {
      (): SseStream<EventsOf<RouteGeneric>>
      <S extends SseSource<EventsOf<RouteGeneric>> | undefined>(
        source: S,
        options?: SseOptions
      ): Sent<
        S,
        SseStream<EventsOf<RouteGeneric>>,
        FastifyReply<
          RouteGeneric,
          RawServer,
          RawRequest,
          RawReply,
          ContextConfig,
          SchemaCompiler,
          TypeProvider,
          ReplyType
        >
      >
    }
  }
  interface FastifyRequest {
    /**
     * The header `Last-Event-ID` as UTF-8 or, without it, the query parameter `lastEventId`; undefined when both are
     * absent or empty.
     */
    readonly lastEventId: string | undefined
    /** True when the Accept header admits `text/event-stream`. */
    readonly acceptsSse: boolean
  }
  interface FastifyContextConfig {
    /** Options of `reply.sse()` for this route. */
    sse?: SseRouteOptions
  }
  interface RouteShorthandOptions {
    /** Options of `reply.sse()` for this route; the same as `config.sse`. */
    sse?: SseRouteOptions
  }
  interface RouteGenericInterface {
    /** Event data by event name, for the types of `reply.sse()`. */
    Sse?: SseEvents
  }
}
