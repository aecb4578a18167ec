/**
 * Name of the query parameter of a one-time token. In a file of its own: every app with `auth` needs it, and the other
 * files of one-time tokens import `@fastify/rate-limit`, which only some apps have installed.
 */
export const TOKEN_PARAMETER = 'ot'
