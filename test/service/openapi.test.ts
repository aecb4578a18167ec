import { Validator } from '@seriousme/openapi-schema-validator'
import { Ajv2020 } from 'ajv/dist/2020.js'
import t from 'tap'
import { packageVersion } from '../../service/version.ts'
import { open } from '../support/client.ts'
import { operationsOf, readOpenapi } from '../support/openapi.ts'
import type { OpenapiDocument, Operation } from '../support/openapi.ts'
import { randomFrom, seedFrom } from '../support/random.ts'
import { TestService } from '../support/service-app.ts'
import { bearer, SECRET, sign } from '../support/tokens.ts'

// The document at /openapi.json says what the service does: it is valid, its examples are taken, its answers are as it says,
// and what its schemas refuse the service refuses.

const service = await TestService.start(t)
const document = await readOpenapi(service)
const operations = operationsOf(document)

/** Every schema of the document by its place, for answers. */
const ajv = new Ajv2020({ strict: false })
ajv.addSchema({ ...document, $id: 'openapi' })
const isAs = (pointer: string, value: unknown): boolean => ajv.validate({ $ref: `openapi#${pointer}` }, value)

t.test('the document is valid OpenAPI 3.1', async t => {
  const validator = new Validator()
  const { valid, errors } = await validator.validate(document as unknown as Record<string, unknown>)
  t.same({ valid, errors }, { valid: true, errors: undefined })
  t.equal(validator.version, '3.1')
})

t.test('every call has a name, a summary and described answers, and every refusal is the one Error', async t => {
  const names = operations.map(({ operation }) => operation.operationId)
  t.equal(new Set(names).size, names.length)
  for (const { name, operation } of operations) {
    t.ok(operation.operationId, `${name} operationId`)
    t.ok(operation.summary, `${name} summary`)
    for (const [status, { description, content }] of Object.entries(operation.responses)) {
      t.not(description, 'Default Response', `${name} ${status}`)
      // How the service stands, not a refusal.
      if (name === 'GET /readyz') continue
      if (Number(status) >= 400) t.same(content, { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } }, `${name} ${status}`)
    }
  }
})

t.test('with authentication its calls are described too, and their answers are as the document says', async t => {
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
  t.match(refusal, { status: 400, json: { code: 'FST_SSE_BAD_BODY', message: /"topics" must be an array/ } }, 'in the words of the call itself')
  t.ok(isAnswerOf(operation, refusal))
})

/** Names of the ways in that each call takes. */
const securityOf = (document: OpenapiDocument): Record<string, string[] | undefined> =>
  Object.fromEntries(operationsOf(document).map(({ name, operation }) => [name, operation.security?.flatMap(Object.keys)]))

t.test('where nobody is asked who he is the document says nothing of it', async t => {
  t.same(Object.keys(document.components.securitySchemes ?? {}), [])
  t.same([...new Set(Object.values(securityOf(document)))], [undefined])
})

t.test('each call says by what it can be used, of what is configured, and the service keeps to it', async t => {
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
    oneTimeToken: async () => ({ query: `ot=${((await guarded.call('/events/auth', { method: 'POST', headers: bearer(token) })).json as { token: string }).token}` })
  }
  for (const { name, method, path, operation } of operationsOf(document).filter(({ path }) => !path.startsWith('/console'))) {
    const statusWith = async ({ headers = {}, query = '' }): Promise<number> => {
      const { statusCode } = await open(t, `${guarded.origin}${path.replace('{topic}', 'news')}?topic=news&${query}`, { method, headers })
      return statusCode
    }
    const taken = operation.security?.flatMap(Object.keys) ?? ['nothing is said']
    t.equal(await statusWith({}) === 401, taken.length > 0, `${name} without credentials`)
    for (const [scheme, present] of Object.entries(presented)) {
      if (taken.length > 0) t.equal(await statusWith(await present()) !== 401, taken.includes(scheme), `${name} by ${scheme}`)
    }
  }
})

t.test('only the ways that are configured are in the document', async t => {
  const proxied = await readOpenapi(await TestService.start(t, { PROXY_HEADER: 'X-User', PROXY_FROM: '127.0.0.1' }))
  t.same(Object.keys(proxied.components.securitySchemes!), ['oneTimeToken', 'proxy'])
  t.same(securityOf(proxied)['POST /topics/{topic}/events'], ['proxy'])
  const keyed = await readOpenapi(await TestService.start(t, { JWT_SECRET: SECRET }))
  t.same(Object.keys(keyed.components.securitySchemes!), ['bearer', 'oneTimeToken'])
})

t.test('every parameter and every shared schema is described', async t => {
  for (const { name, operation } of operations) for (const parameter of operation.parameters ?? []) t.ok(parameter.description, `${name} ${parameter.name}`)
  for (const [name, schema] of Object.entries(document.components.schemas)) t.ok(schema.title, name)
})

t.test('the examples of the shared schemas are as the schemas say', async t => {
  for (const [name, { examples }] of Object.entries(document.components.schemas)) {
    t.ok(examples !== undefined && examples.length > 0, name)
    for (const example of examples ?? []) t.ok(isAs(`/components/schemas/${name}`, example), `${name} ${JSON.stringify(example)}`)
  }
})

t.test('the service takes every example of a body, and its answer is as the document says', async t => {
  let taken = 0
  for (const { name, path, method, operation } of operations) {
    for (const [type, { examples = {} }] of Object.entries(operation.requestBody?.content ?? {})) {
      for (const [example, { value }] of Object.entries(examples)) {
        const body = typeof value === 'string' ? value : JSON.stringify(value)
        const answer = await service.call(path.replace('{topic}', 'news'), { method, body, type })
        t.equal(answer.status, 201, `${name} ${type} ${example}: ${answer.text}`)
        t.ok(isAnswerOf(operation, answer), `${name} ${type} ${example}`)
        taken++
      }
    }
  }
  t.equal(taken, 5)
})

function isAnswerOf (operation: Operation, { status, json }: { status: number, json: unknown }): boolean {
  const schema = operation.responses[status]?.content?.['application/json']?.schema
  return schema !== undefined && ajv.validate(JSON.parse(JSON.stringify(schema).replaceAll('"#/', '"openapi#/')) as object, json)
}

t.test('the service takes every example of a parameter', async t => {
  let taken = 0
  for (const { name, operation } of operations.filter(({ path }) => path === '/events')) {
    for (const { name: parameter, in: place, example } of operation.parameters ?? []) {
      if (example === undefined || parameter === 'topic') continue
      const value = [example].flat().join()
      const query = place === 'query' ? `&${parameter}=${value}` : ''
      const { statusCode } = await open(t, `${service.origin}/events?topic=news${query}`, { headers: place === 'header' ? { [parameter]: value } : {} })
      t.equal(statusCode, 200, `${name} ${parameter}`)
      taken++
    }
  }
  t.ok(taken >= 3)
})

t.test('what answers without a stream is as the document says, refusals too', async t => {
  const get = (path: string) => operations.find(operation => operation.path === path && operation.method === 'GET')!.operation
  for (const path of ['/topics/{topic}', '/healthz', '/openapi.json']) {
    const answer = await service.call(path.replace('{topic}', 'news'))
    t.equal(answer.status, 200)
    t.ok(isAnswerOf(get(path), answer), path)
  }
  const refusal = await service.call('/topics/-')
  t.equal(refusal.status, 400)
  t.ok(isAnswerOf(get('/topics/{topic}'), refusal))
})

t.test('no page of the document is left out: every call that the service takes is in it', async t => {
  const { paths } = document
  for (const [path, calls] of Object.entries(paths)) {
    const { headers } = await service.call(path.replace('{topic}', 'news'), { method: 'OPTIONS' })
    const allowed = headers.get('allow')!.split(', ').filter(method => !['HEAD', 'OPTIONS'].includes(method))
    t.same(Object.keys(calls).map(method => method.toUpperCase()).sort(), allowed.sort(), path)
  }
})

// The schema of an event and the check in topics/ are two texts about one thing. They must judge alike, whatever comes.
t.test('the schema of an event refuses what the topics refuse, and nothing else', async t => {
  const seed = seedFrom('OPENAPI_SEED')
  const random = randomFrom(seed)
  const pick = <T>(values: readonly T[]): T => values[random(values.length)]!
  const names = ['', 'a', 'message', 'open', 'opening', 'error', 'errors', 'stream.', 'stream.open', 'stream', 'xstream.a', 'a\nb', 'a\r', 'a\0', 'open\n', 'ü🙂', '\u2028', 7, null, {}, [], true]
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
    const isTaken = await service.app.topics.publish('judged', [event as { data: unknown }]).then(() => true, () => false)
    if (isAs('/components/schemas/Event', event) !== isTaken) t.fail(`OPENAPI_SEED=${seed}: ${JSON.stringify(event)} is ${isTaken ? '' : 'not '}taken by the topics`)
  }
  t.pass(`seed ${seed}`)
})

// What Spectral and Redocly asked for, as far as it can be said in a test.
t.test('the document says where it is served, what version it is of, and that nobody is asked who they are', async t => {
  const whole = document as unknown as { servers: { url: string }[], security: unknown[], info: { version: string } }
  t.match(whole.servers, [{ url: '/' }])
  t.same(whole.security, [])
  t.equal(whole.info.version, packageVersion())
  const guarded = await readOpenapi(await TestService.start(t, { JWT_SECRET: SECRET }))
  t.notOk(Object.hasOwn(guarded, 'security'), 'each call says it by itself')
})

t.test('the examples of a body are of its schema\'s type, and every list has items', async t => {
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

t.test('what the document refuses of text and of the calls for tokens the service refuses, and what it takes is taken', async t => {
  const text = operations.find(({ path, method }) => path === '/topics/{topic}/events' && method === 'POST')!.operation.requestBody!.content['text/plain']!.schema
  t.notOk(ajv.validate(text, 'a\0b'))
  t.match(await service.publish('news', 'a\0b', { type: 'text/plain' }), { status: 400, json: { code: 'TOPICS_BAD_EVENT' } })
  const guarded = await TestService.start(t, { JWT_SECRET: SECRET })
  const calls = operationsOf(await readOpenapi(guarded))
  const admin = bearer(await sign({ topics: { subscribe: ['*'], publish: ['*'], revoke: true } }))
  const bodies: Record<string, object[]> = {
    '/events/auth': [{ topics: [''] }, { topics: ['a b'] }, { topics: ['a.*'] }, { topics: ['x'.repeat(257)] }, { topics: Array(45).fill('a') }, { topics: Array(44).fill('a') }, {}],
    '/events/revoke': [{ subject: '' }, { subject: 'a\u0085' }, { subject: 'a\n' }, { subject: 'ann' }, { subject: 'x'.repeat(257) }, { session: 'short' }, {}]
  }
  for (const [path, all] of Object.entries(bodies)) {
    const { requestBody } = calls.find(call => call.path === path)!.operation
    t.equal((requestBody as { required?: boolean }).required, path === '/events/revoke')
    for (const body of all) {
      const { status } = await guarded.call(path, { method: 'POST', body, headers: admin })
      t.equal(ajv.validate(requestBody!.content['application/json']!.schema, body), status < 300, `${path} ${JSON.stringify(body).slice(0, 60)} ${status}`)
    }
  }
})

t.test('every status that GET /events answers with is in the document', async t => {
  const limited = await TestService.start(t, { MAX_STREAMS_PER_ADDRESS: '1' })
  const first = await open(t, `${limited.origin}/events?topic=news`)
  await first.inbox.until('stream.open')
  const { status } = await limited.call('/events?topic=news', { headers: { accept: '*/*' } })
  t.equal(status, 429)
  t.ok(operations.find(({ path }) => path === '/events')!.operation.responses[status])
})
