import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import type { Test } from 'tap'
import { errorHandling } from '../../../../service/http/error-handler.ts'
import { validateBySchema } from '../../../../service/http/schemas/validator.ts'

// Values that a schema rejects and no check of another room describes: field, rule and the value seen, for each part of
// a request.

async function buildApp (t: Test): Promise<FastifyInstance> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(errorHandling, { maxBodyBytes: 1_024 })
  validateBySchema(app)
  app.addSchema({
    $id: 'Small', type: 'integer', maximum: 9, description: 'an integer up to 9. More is told elsewhere.'
  })
  app.post('/:number', {
    schema: {
      params: { type: 'object', properties: { number: { type: 'string', pattern: '^\\d+$', description: 'digits.' } } },
      querystring: {
        type: 'object',
        additionalProperties: false,
        properties: { a: { type: 'string', maxLength: 3, description: 'at most 3 characters' }, b: { type: 'string' } }
      },
      headers: { type: 'object', properties: { 'x-flag': { enum: ['on'] } } },
      body: {
        type: 'object',
        required: ['small'],
        properties: { small: { $ref: 'Small#' }, list: { type: 'array', items: { type: 'string' } } }
      }
    }
  }, request => request.body)
  return app
}

t.test('an error names the part, the field, the first sentence of its description and the value seen', async t => {
  const app = await buildApp(t)
  const told: [{ url?: string, headers?: Record<string, string>, payload?: object }, string, string][] = [
    [{ url: '/x' }, 'SERVICE_BAD_VALUE', 'path parameter "number" must be digits, saw "x"'],
    [{ url: '/7?a=long' }, 'SERVICE_BAD_QUERY', 'query parameter "a" must be at most 3 characters, saw "long"'],
    [{ url: '/7?a=x&a=y' }, 'SERVICE_BAD_QUERY', 'query parameter "a" must be given only once, saw it 2 times'],
    [{ url: '/7?c=secret' }, 'SERVICE_BAD_QUERY', 'query parameter "c" must be one of a, b, saw an unknown name'],
    [
      { headers: { 'x-flag': 'off' } },
      'SERVICE_BAD_VALUE',
      'header "x-flag" must be as its schema says (enum), saw "off"'
    ],
    [{ payload: {} }, 'SERVICE_BAD_VALUE', 'field "small" must be present (known: small, list), saw none'],
    [{ payload: { list: [] } }, 'SERVICE_BAD_VALUE', 'field "small" must be present (known: small, list), saw list'],
    [{ payload: { small: 10 } }, 'SERVICE_BAD_VALUE', 'field "small" must be an integer up to 9, saw 10'],
    [{ payload: { small: '1' } }, 'SERVICE_BAD_VALUE', 'field "small" must be an integer up to 9, saw "1"'],
    [
      { payload: { small: 1, list: [1] } }, 'SERVICE_BAD_VALUE', 'field "list" must be as its schema says (type), saw 1'
    ],
    [{ payload: [] }, 'SERVICE_BAD_VALUE', 'field "body" must be as its schema says (type), saw []']
  ]
  for (const [request, code, message] of told) {
    const answer = await app.inject({ method: 'POST', url: '/7', payload: { small: 1 }, ...request })
    t.same(answer.json(), { statusCode: 400, code, error: 'Bad Request', message })
  }
})

t.test('nothing is added, removed or converted to another type', async t => {
  const app = await buildApp(t)
  const payload = { small: 9, other: '1' }
  t.same((await app.inject({ method: 'POST', url: '/7?a=1', payload })).json(), payload)
})
