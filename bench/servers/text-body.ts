import type { FastifyInstance } from 'fastify'

/** Parses a text body, with one event per line. */
export function readLines (app: FastifyInstance): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'string' }, (request, body, done) => {
    done(null, (body as string).split('\n'))
  })
}

export interface PublishRoute { Querystring: { topic: string }, Body: string[] }
export interface EventsRoute { Querystring: { topic: string | string[] } }
