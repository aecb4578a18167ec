import type { FastifyServerOptions } from 'fastify'

type Compilers = NonNullable<NonNullable<FastifyServerOptions['schemaController']>['compilersFactory']>

/**
 * What Fastify compiles schemas with, in place of its own compilers, which are slow to load. Requests are validated by
 * `validateBySchema`. Schemas of responses are for the OpenAPI document only: `JSON.stringify` needs no time at the
 * start and is as fast for what the service sends, and the tests compare every response with its schema.
 */
export const compilers: Compilers = {
  buildSerializer: () => () => value => JSON.stringify(value),
  buildValidator: () => () => { throw new Error('a route was added before validateBySchema()') }
}
