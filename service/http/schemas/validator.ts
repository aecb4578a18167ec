import { createRequire } from 'node:module'
import type { Ajv2020, AnySchemaObject, ErrorObject, ValidateFunction } from 'ajv/dist/2020.js'
import type { FastifyInstance } from 'fastify'
import { show } from 'fastify-resumable-sse'
import { errors } from '../../errors.ts'

/** The names of the request parts in error messages. */
const PARTS: Partial<Record<string, string>> = { params: 'path parameter', headers: 'header', body: 'field' }

/** An empty object is valid by a schema that has only these. */
const OF_OBJECTS: ReadonlySet<string> = new Set(['type', 'properties', 'additionalProperties'])

const require = createRequire(import.meta.url)

/**
 * Validates requests against their schemas, which are those in the OpenAPI document. Nothing is coerced, added or
 * removed: invalid values are rejected with the field, the rule and the value seen.
 *
 * A schema is compiled for the first request that it concerns: loading ajv and compiling all of them would take a third
 * of the start. A probe of `/readyz` without a query string must not load ajv either.
 */
export function validateBySchema (app: FastifyInstance): void {
  let ajv: Ajv2020 | undefined
  app.setValidatorCompiler<object>(({ schema, httpPart = 'body' }) => {
    let validate: ValidateFunction | undefined
    const mayBeEmpty = httpPart === 'querystring' && Object.keys(schema).every(keyword => OF_OBJECTS.has(keyword))
    return value => {
      if (mayBeEmpty && Object.keys(value as object).length === 0) return { value }
      validate ??= (ajv ??= createAjv(app)).compile(schema)
      return validate(value) ? { value } : { error: rejectionBy(validate.errors![0]!, httpPart) }
    }
  })
}

/** When the first request arrives, all schemas that others refer to have been added. */
function createAjv (app: FastifyInstance): Ajv2020 {
  const { Ajv2020 } = require('ajv/dist/2020.js') as typeof import('ajv/dist/2020.js')
  const ajv = new Ajv2020({ verbose: true, strict: true, strictTypes: false })
  ajv.addVocabulary(['x-examples'])
  ajv.addSchema(Object.values(app.getSchemas()) as object[])
  return ajv
}

function rejectionBy (error: ErrorObject, part: string): Error {
  const { name, rule, seen } = describe(error, part)
  return part === 'querystring'
    ? new errors.SERVICE_BAD_QUERY(name, rule, seen)
    : new errors.SERVICE_BAD_VALUE(`${PARTS[part]} "${name}"`, rule, seen)
}

/**
 * The field, the rule and the value seen. For an unknown field only the name is shown: its value may be a secret in the
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
