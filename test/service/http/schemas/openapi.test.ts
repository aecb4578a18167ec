import { Validator } from '@seriousme/openapi-schema-validator'
import { Ajv2020 } from 'ajv/dist/2020.js'
import t from 'tap'
import { packageVersion } from '../../../../service/version.ts'
import { open } from '../../../support/clients/client.ts'
import { operationsOf, readOpenapi } from '../../../support/service/openapi.ts'
import type { OpenapiDocument, Operation } from '../../../support/service/openapi.ts'
import { randomFrom, seedFrom } from '../../../support/random.ts'
import { TestService } from '../../../support/service/service-app.ts'
import { bearer, SECRET, sign } from '../../../support/auth/tokens.ts'

// The document at /openapi.json matches the service: it is valid, its examples are accepted, responses match their
// schemas, and the service rejects what its schemas reject.

const service = await TestService.start(t)
const document = await readOpenapi(service)
const operations = operationsOf(document)

/** Every schema of the document by its location. */
const ajv = new Ajv2020({ strict: false })
ajv.addSchema({ ...document, $id: 'openapi' })
/** The same for responses, which must not have undocumented fields: nothing removes them. */
const answers = new Ajv2020({ strict: false })
answers.addSchema({ ...closed(document) as object, $id: 'openapi' })
const isAs = (pointer: string, value: unknown): boolean => ajv.validate({ $ref: `openapi#${pointer}` }, value)

t.test('the document is valid OpenAPI 3.1', async t => {
  const validator = new Validator()
  const { valid, errors } = await validator.validate(document as unknown as Record<string, unknown>)
  t.same({ valid, errors }, { valid: true, errors: undefined })
  t.equal(validator.version, '3.1')
})

t.test('every call has a name, a summary and described responses, and every error response is the one Error', async t => {
  const names = operations.map(({ operation }) => operation.operationId)
  t.equal(new Set(names).size, names.length)
  for (const { name, operation } of operations) {
    t.ok(operation.operationId, `${name} operationId`)
    t.ok(operation.summary, `${name} summary`)
    for (const [status, { description, content }] of Object.entries(operation.responses)) {
      t.not(description, 'Default Response', `${name} ${status}`)
      // Reports the state of the service, and is not an error response.
      if (name === 'GET /readyz') continue
      if (Number(status) >= 400) {
        t.same(content, { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } }, `${name} ${status}`)
      }
    }
  }
})

t.test('with authentication its calls are described too, and their responses match the document', async t => {
  const guarded = await TestService.start(t, { JWT_SECRET: SECRET })
  const document = await readOpenapi(guarded)
  const { valid, errors } = await new Validator().validate(document as unknown as Record<string, unknown>)
  t.same({ valid, errors }, { valid: true, errors: undefined })
  const headers = bearer(await sign())
  const calls = operationsOf(document)
  t.same(calls.filter(({ operation }) => operation.operationId === undefined), [])
  const { operation } = calls.find(({ path }) => path === '/events/auth')!
  for (const options of [{ body: { topics: ['news'] } }, {}]) {
    const answer = await guarded.call('/events/auth', { method: 'POST', headers, ...options })
    t.equal(answer.status, 200, answer.text)
    t.ok(isAnswerOf(operation, answer))
  }
  const refusal = await guarded.call('/events/auth', { method: 'POST', headers, body: { topics: [] } })
  t.match(refusal, {
    status: 400, json: { code: 'FST_SSE_BAD_BODY', message: /"topics" must be an array/ }
  }, 'as described for the call itself')
  t.ok(isAnswerOf(operation, refusal))
})

/** The names of the authentication schemes that each call accepts. */
const securityOf = (document: OpenapiDocument): Record<string, string[] | undefined> =>
  Object.fromEntries(operationsOf(document).map(({ name, operation }) => [
    name, operation.security?.flatMap(Object.keys)
  ]))

t.test('without authentication the document has no security schemes', async t => {
  t.same(Object.keys(document.components.securitySchemes ?? {}), [])
  t.same([...new Set(Object.values(securityOf(document)))], [undefined])
})

t.test('each call lists the configured credentials that it accepts, and the service accepts exactly those', async t => {
  const env = { JWT_SECRET: SECRET, COOKIE_NAME: 'token', PROXY_HEADER: 'X-User', PROXY_FROM: '127.0.0.1' }
  const guarded = await TestService.start(t, env)
  const document = await readOpenapi(guarded)
  const { valid, errors } = await new Validator().validate(document as unknown as Record<string, unknown>)
  t.same({ valid, errors }, { valid: true, errors: undefined })
  t.match(document.components.securitySchemes, {
    bearer: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' },
    oneTimeToken: { type: 'apiKey', in: 'query', name: 'ot' },
    cookie: { type: 'apiKey', in: 'cookie', name: 'token' },
    proxy: { type: 'apiKey', in: 'header', name: 'X-User' }
  })
  const token = await sign()
  const presented: Record<string, () => Promise<{ headers?: Record<string, string>, query?: string }>> = {
    bearer: async () => ({ headers: bearer(token) }),
    cookie: async () => ({ headers: { cookie: `token=${token}` } }),
    proxy: async () => ({ headers: { 'x-user': 'alice' } }),
    oneTimeToken: async () => ({
      query: `ot=${((await guarded.call('/events/auth', { method: 'POST', headers: bearer(token) })).json as { token: string }).token}`
    })
  }
  for (const { name, method, path, operation } of operationsOf(document).filter(
    ({ path }) => !path.startsWith('/console')
  )) {
    const statusWith = async ({ headers = {}, query = '' }): Promise<number> => {
      const { statusCode } = await open(t, `${guarded.origin}${path.replace('{topic}', 'news')}?topic=news&${query}`, {
        method, headers
      })
      return statusCode
    }
    const taken = operation.security?.flatMap(Object.keys) ?? ['nothing is said']
    t.equal(await statusWith({}) === 401, taken.length > 0, `${name} without credentials`)
    for (const [scheme, present] of Object.entries(presented)) {
      if (taken.length > 0) {
        t.equal(await statusWith(await present()) !== 401, taken.includes(scheme), `${name} by ${scheme}`)
      }
    }
  }
})

t.test('only the configured credentials are in the document', async t => {
  const proxied = await readOpenapi(await TestService.start(t, { PROXY_HEADER: 'X-User', PROXY_FROM: '127.0.0.1' }))
  t.same(Object.keys(proxied.components.securitySchemes!), ['oneTimeToken', 'proxy'])
  t.same(securityOf(proxied)['POST /topics/{topic}/events'], ['proxy'])
  const keyed = await readOpenapi(await TestService.start(t, { JWT_SECRET: SECRET }))
  t.same(Object.keys(keyed.components.securitySchemes!), ['bearer', 'oneTimeToken'])
})

t.test('every parameter and every shared schema is described', async t => {
  for (const { name, operation } of operations) {
    for (const parameter of operation.parameters ?? []) t.ok(parameter.description, `${name} ${parameter.name}`)
  }
  for (const [name, schema] of Object.entries(document.components.schemas)) t.ok(schema.title, name)
})

// Generators of clients and of test data draw any value at all for a schema without a type.
t.test('every list of values has a type', async t => {
  const untyped: string[] = []
  JSON.stringify(document, (key, value) => {
    if (Array.isArray(value?.enum) && value.type === undefined) untyped.push(`${key}: ${value.enum.join(', ')}`)
    return value
  })
  t.same(untyped, [])
})

t.test('the examples of the shared schemas match the schemas', async t => {
  for (const [name, { examples }] of Object.entries(document.components.schemas)) {
    t.ok(examples !== undefined && examples.length > 0, name)
    for (const example of examples ?? []) {
      t.ok(isAs(`/components/schemas/${name}`, example), `${name} ${JSON.stringify(example)}`)
    }
  }
})

t.test('the service accepts every example of a body, and its response matches the document', async t => {
  let taken = 0
  for (const { name, path, method, operation } of operations) {
    for (const [type, { examples = {} }] of Object.entries(operation.requestBody?.content ?? {})) {
      for (const [example, { value }] of Object.entries(examples)) {
        const body = typeof value === 'string' ? value : JSON.stringify(value)
        // A live publish closes its topic.
        const topic = path.endsWith('/producer') ? `live-${taken}` : 'news'
        const answer = await service.call(path.replace('{topic}', topic), { method, body, type })
        t.equal(answer.status, path.endsWith('/events') ? 201 : 200, `${name} ${type} ${example}: ${answer.text}`)
        t.ok(isAnswerOf(operation, answer), `${name} ${type} ${example}`)
        taken++
      }
    }
  }
  t.equal(taken, 13)
})

function isAnswerOf (operation: Operation, { status, json }: { status: number, json: unknown }): boolean {
  const schema = operation.responses[status]?.content?.['application/json']?.schema
  return schema !== undefined &&
    answers.validate(JSON.parse(JSON.stringify(closed(schema)).replaceAll('"#/', '"openapi#/')) as object, json)
}

/** A copy whose objects have no properties except those that are described. */
function closed (value: unknown): unknown {
  if (Array.isArray(value)) return value.map(closed)
  if (typeof value !== 'object' || value === null) return value
  const copy = Object.fromEntries(Object.entries(value).map(([name, part]) => [name, closed(part)]))
  const isOpen = 'properties' in copy && typeof copy.properties === 'object' && !('additionalProperties' in copy)
  return isOpen ? { ...copy, additionalProperties: false } : copy
}

t.test('the service accepts every example of a parameter', async t => {
  let taken = 0
  for (const { name, operation } of operations.filter(({ path }) => path === '/events')) {
    for (const { name: parameter, in: place, example } of operation.parameters ?? []) {
      if (example === undefined || parameter === 'topic') continue
      const value = [example].flat().join()
      const query = place === 'query' ? `&${parameter}=${value}` : ''
      const { statusCode } = await open(t, `${service.origin}/events?topic=news${query}`, {
        headers: place === 'header' ? { [parameter]: value } : {}
      })
      t.equal(statusCode, 200, `${name} ${parameter}`)
      taken++
    }
  }
  t.ok(taken >= 3)
})

t.test('responses other than streams match the document, including errors', async t => {
  const get = (path: string) =>
    operations.find(operation => operation.path === path && operation.method === 'GET')!.operation
  const over = new AbortController()
  await service.app.topics.produce('at-work', endless(over.signal), { producerId: 'tests' })
  await service.publish('news', 'hello')
  const { inbox } = await open(t, `${service.origin}/events?topic=news&last=1`)
  await inbox.until('hello')
  for (const path of [
    '/topics/{topic}', '/topics/{topic}/events', '/topics/{topic}/producer', '/topics', '/streams', '/healthz',
    '/readyz', '/openapi.json'
  ]) {
    const answer = await service.call(path.replace('{topic}', path.endsWith('/events') ? 'news' : 'at-work'))
    t.equal(answer.status, 200)
    t.ok(isAnswerOf(get(path), answer), `${path} ${answer.text.slice(0, 500)}`)
  }
  over.abort()
  const refusal = await service.call('/topics/-')
  t.equal(refusal.status, 400)
  t.ok(isAnswerOf(get('/topics/{topic}'), refusal))
})

async function * endless (signal: AbortSignal): AsyncGenerator<string> {
  yield 'one'
  await new Promise(resolve => signal.addEventListener('abort', resolve))
}

t.test('the document is complete: every call that the service accepts is in it', async t => {
  const { paths } = document
  for (const [path, calls] of Object.entries(paths)) {
    const { headers } = await service.call(path.replace('{topic}', 'news'), { method: 'OPTIONS' })
    const allowed = headers.get('allow')!.split(', ').filter(method => !['HEAD', 'OPTIONS'].includes(method))
    t.same(Object.keys(calls).map(method => method.toUpperCase()).sort(), allowed.sort(), path)
  }
})

// The schema of an event and the check in topics/ describe the same thing twice. They must agree on any input.
t.test('the schema of an event rejects what the topics reject, and nothing else', async t => {
  const seed = seedFrom('OPENAPI_SEED')
  const random = randomFrom(seed)
  const pick = <T>(values: readonly T[]): T => values[random(values.length)]!
  const names = [
    '',
    'a',
    'message',
    'open',
    'opening',
    'error',
    'errors',
    'stream.',
    'stream.open',
    'stream',
    'xstream.a',
    'a\nb',
    'a\r',
    'a\0',
    'open\n',
    'ü🙂',
    '\u2028',
    7,
    null,
    {},
    [],
    true
  ]
  const retries = [0, -0, 1, 3_600_000, 3_600_001, -1, 1.5, 1e3, 1e30, '5', null, [], true]
  const data = ['', 'text', 'a\nb', 'a\0b', '\0', 0, null, false, [], {}, { a: 'a\0b' }, ['\n'], '\u2028', 1e308]
  const draw = (): unknown => {
    if (random(10) === 0) return pick([null, 7, 'text', true, [], [[]], {}])
    const event: Record<string, unknown> = {}
    if (random(10) > 0) event.data = pick(data)
    if (random(2) > 0) event.event = pick(names)
    if (random(2) > 0) event.retry = pick(retries)
    if (random(8) === 0) event[pick(['id', 'Data', 'toString', ''])] = 1
    return event
  }
  for (let at = 0; at < 1_000; at++) {
    const event = draw()
    const isTaken = await service.app.topics
      .publish('judged', [event as { data: unknown }])
      .then(() => true, () => false)
    if (isAs('/components/schemas/Event', event) !== isTaken) {
      t.fail(`OPENAPI_SEED=${seed}: ${JSON.stringify(event)} is ${isTaken ? '' : 'not '}accepted by the topics`)
    }
  }
  t.pass(`seed ${seed}`)
})

// Requirements of Spectral and Redocly, as far as a test can express them.
t.test('the document contains the URL of the service, its version, and that there is no authentication', async t => {
  const whole = document as unknown as { servers: { url: string }[], security: unknown[], info: { version: string } }
  t.match(whole.servers, [{ url: '/' }])
  t.same(whole.security, [])
  t.equal(whole.info.version, packageVersion())
  const guarded = await readOpenapi(await TestService.start(t, { JWT_SECRET: SECRET }))
  t.notOk(Object.hasOwn(guarded, 'security'), 'each call says so itself')
})

t.test('the examples of a body match the type of its schema, and every list has items', async t => {
  for (const { name, operation } of operations) {
    for (const [type, { schema, examples = {} }] of Object.entries(operation.requestBody?.content ?? {})) {
      const isText = Object.values(examples).every(({ value }) => typeof value === 'string')
      if (type !== 'application/json') t.same([schema.type, isText], ['string', true], `${name} ${type}`)
    }
  }
  const lists = JSON.stringify(document).match(/\{[^{}]*"type":"array"[^{}]*/g) ?? []
  t.ok(lists.length > 0)
  for (const list of lists) t.match(list, '"items"')
})

t.test('for text and the calls for tokens, the service rejects what the document rejects, and accepts what it accepts', async t => {
  const text = operations.find(
    ({ path, method }) => path === '/topics/{topic}/events' && method === 'POST'
  )!.operation.requestBody!.content['text/plain']!.schema
  t.notOk(ajv.validate(text, 'a\0b'))
  t.match(await service.publish('news', 'a\0b', { type: 'text/plain' }), {
    status: 400, json: { code: 'TOPICS_BAD_EVENT' }
  })
  const guarded = await TestService.start(t, { JWT_SECRET: SECRET })
  const calls = operationsOf(await readOpenapi(guarded))
  const admin = bearer(await sign({ topics: { subscribe: ['*'], publish: ['*'], revoke: true } }))
  const bodies: Record<string, object[]> = {
    '/events/auth': [{ topics: [''] }, { topics: ['a b'] }, { topics: ['a.*'] }, { topics: ['x'.repeat(257)] }, {
      topics: Array(45).fill('a')
    }, { topics: Array(44).fill('a') }, {}],
    '/events/revoke': [{ subject: '' }, { subject: 'a\u0085' }, { subject: 'a\n' }, { subject: 'ann' }, {
      subject: 'x'.repeat(257)
    }, { session: 'short' }, {}]
  }
  for (const [path, all] of Object.entries(bodies)) {
    const { requestBody } = calls.find(call => call.path === path)!.operation
    t.equal((requestBody as { required?: boolean }).required, path === '/events/revoke')
    for (const body of all) {
      const { status } = await guarded.call(path, { method: 'POST', body, headers: admin })
      t.equal(
        ajv.validate(requestBody!.content['application/json']!.schema, body),
        status < 300,
        `${path} ${JSON.stringify(body).slice(0, 60)} ${status}`
      )
    }
  }
})

t.test('every status of a response to GET /events is in the document', async t => {
  const limited = await TestService.start(t, { MAX_STREAMS_PER_ADDRESS: '1' })
  const first = await open(t, `${limited.origin}/events?topic=news`)
  await first.inbox.until('stream.open')
  const { status } = await limited.call('/events?topic=news', { headers: { accept: '*/*' } })
  t.equal(status, 429)
  t.ok(operations.find(({ path }) => path === '/events')!.operation.responses[status])
})
