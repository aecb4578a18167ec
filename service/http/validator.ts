import { Ajv2020 } from 'ajv/dist/2020.js'
import type { AnySchemaObject, ErrorObject } from 'ajv/dist/2020.js'
import type { FastifyInstance } from 'fastify'
import { show } from 'fastify-resumable-sse'
import { errors } from '../errors.ts'

/** What the parts of a request are called in a refusal. */
const PARTS: Partial<Record<string, string>> = { params: 'path parameter', headers: 'header', body: 'field' }

/**
 * Validates requests by their schemas, which are those of OpenAPI 3.1. Nothing is coerced, added or removed: what is
 * not as the schema says is refused, naming field, rule and the value seen.
 */
export function validateBySchema (app: FastifyInstance): void {
  const ajv = new Ajv2020({ verbose: true, strict: true, strictTypes: false })
  ajv.addVocabulary(['x-examples'])
  app.setValidatorCompiler<object>(({ schema, httpPart = 'body' }) => {
    for (const [name, shared] of Object.entries(app.getSchemas())) {
      if (!ajv.getSchema(name)) ajv.addSchema(shared as object)
    }
    const validate = ajv.compile(schema)
    return value => validate(value) ? { value } : { error: refusalBy(validate.errors![0]!, httpPart) }
  })
}

function refusalBy (error: ErrorObject, part: string): Error {
  const { name, rule, seen } = describe(error, part)
  return part === 'querystring'
    ? new errors.SERVICE_BAD_QUERY(name, rule, seen)
    : new errors.SERVICE_BAD_VALUE(`${PARTS[part]} "${name}"`, rule, seen)
}

/** Field, rule and value seen. Of what is not known only the name is shown: it may be a secret in the wrong place. */
function describe (
  { keyword, params, instancePath, parentSchema, data }: ErrorObject,
  part: string
): { name: string, rule: string, seen: string } {
  const known = Object.keys(parentSchema?.properties ?? {}).join(', ')
  const name = instancePath.split('/')[1] ?? part
  if (keyword === 'required') {
    return {
      name: params.missingProperty,
      rule: `given (there are ${known})`,
      seen: Object.keys(data as object).join(', ') || 'none'
    }
  }
  if (keyword === 'additionalProperties') {
    return { name: params.additionalProperty, rule: `one of ${known}`, seen: 'an unknown one' }
  }
  if (part === 'querystring' && keyword === 'type' && Array.isArray(data)) {
    return { name, rule: 'given once', seen: `${data.length} of it` }
  }
  return { name, rule: ruleIn(parentSchema, keyword), seen: show(data) }
}

/** The first sentence of the description, which says what the value must be. */
function ruleIn (schema: AnySchemaObject | undefined, keyword: string): string {
  return (schema?.description as string | undefined)?.split(/\.(?: |$)/, 1)[0] ?? `as its schema says (${keyword})`
}
