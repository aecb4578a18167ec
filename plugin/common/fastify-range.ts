/** The versions of Fastify that the plugins accept; the same as the peer dependency. */
export const FASTIFY_RANGE = '^5.8.0'
