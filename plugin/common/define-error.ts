import createError from '@fastify/error'
import type { FastifyErrorConstructor } from '@fastify/error'

type Args = [unknown?, unknown?, unknown?, unknown?]

/** One error class: its code, a text with `%s` for up to four arguments, its HTTP status and the class it extends. */
export function defineError<C extends string> (
  code: C, text: string, statusCode: number, Base: ErrorConstructor | TypeErrorConstructor = Error
): FastifyErrorConstructor<{ code: C, statusCode: number }, Args> {
  return createError<C, number, Args>(code, text, statusCode, Base)
}
