import type { TestService } from './service-app.ts'

/** The parts of an OpenAPI document that the tests check. */
export interface Schema {
  $ref?: string
  title?: string
  type?: string | string[]
  pattern?: string
  enum?: readonly unknown[]
  examples?: unknown[]
  [keyword: string]: unknown
}
export interface Parameter {
  name: string
  in: 'query' | 'header' | 'path'
  description?: string
  example?: unknown
  schema: Schema
}
export interface Content { [type: string]: { schema: Schema, examples?: Record<string, { value: unknown }> } }
export interface Operation {
  operationId?: string
  summary?: string
  parameters?: Parameter[]
  requestBody?: { content: Content }
  responses: Record<string, { description: string, content?: Content }>
  security?: Record<string, string[]>[]
}
export interface OpenapiDocument {
  openapi: string
  paths: Record<string, Record<string, Operation>>
  components: { schemas: Record<string, Schema>, securitySchemes?: Record<string, object> }
}

export async function readOpenapi (service: TestService): Promise<OpenapiDocument> {
  return (await service.call('/openapi.json')).json as OpenapiDocument
}

/** Every call in the document; `name` is for messages. */
export function operationsOf (
  { paths }: OpenapiDocument
): { name: string, path: string, method: string, operation: Operation }[] {
  return Object.entries(paths).flatMap(([path, calls]) => Object.entries(calls).map(([method, operation]) => {
    return { name: `${method.toUpperCase()} ${path}`, path, method: method.toUpperCase(), operation }
  }))
}
