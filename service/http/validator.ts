import { Ajv2020 } from 'ajv/dist/2020.js'
import type { AnySchemaObject, ErrorObject } from 'ajv/dist/2020.js'
import type { FastifyInstance } from 'fastify'
import { show } from 'fastify-resumable-sse'
import { errors } from '../errors.ts'

/** What error messages call the parts of a request. */
const PARTS: Partial<Record<string, string>> = { params: 'path parameter', headers: 'header', body: 'field' }

/**
 * Validates requests by their schemas, which are those of OpenAPI 3.1. Nothing is coerced, added or removed: invalid
 * values are rejected with the field, the rule and the value seen.
 */
export function validateBySchema (app: FastifyInstance): void {
  const ajv = new Ajv2020({ verbose: true, strict: true, strictTypes: false })
  ajv.addVocabulary(['x-examples'])
  app.setValidatorCompiler<object>(({ schema, httpPart = 'body' }) => {
    for (const [name, shared] of Object.entries(app.getSchemas())) {
      if (!ajv.getSchema(name)) ajv.addSchema(shared as object)
    }
    const validate = ajv.compile(schema)
    return value => validate(value) ? { value } : { error: rejectionBy(validate.errors![0]!, httpPart) }
  })
}

function rejectionBy (error: ErrorObject, part: string): Error {
  const { name, rule, seen } = describe(error, part)
  return part === 'querystring'
    ? new errors.SERVICE_BAD_QUERY(name, rule, seen)
    : new errors.SERVICE_BAD_VALUE(`${PARTS[part]} "${name}"`, rule, seen)
}

/**
 * The field, the rule and the value seen. Of an unknown field only the name is shown: its value may be a secret in the
 * wrong place.
 */
function describe (
  { keyword, params, instancePath, parentSchema, data }: ErrorObject,
  part: string
): { name: string, rule: string, seen: string } {
  const known = Object.keys(parentSchema?.properties ?? {}).join(', ')
  const name = instancePath.split('/')[1] ?? part
  if (keyword === 'required') {
    return {
      name: params.missingProperty,
      rule: `present (known: ${known})`,
      seen: Object.keys(data as object).join(', ') || 'none'
    }
  }
  if (keyword === 'additionalProperties') {
    return { name: params.additionalProperty, rule: `one of ${known}`, seen: 'an unknown name' }
  }
  if (part === 'querystring' && keyword === 'type' && Array.isArray(data)) {
    return { name, rule: 'given only once', seen: `it ${data.length} times` }
  }
  return { name, rule: ruleIn(parentSchema, keyword), seen: show(data) }
}

/** The first sentence of the description, which states the allowed values. */
function ruleIn (schema: AnySchemaObject | undefined, keyword: string): string {
  return (schema?.description as string | undefined)?.split(/\.(?: |$)/, 1)[0] ?? `as its schema says (${keyword})`
}
