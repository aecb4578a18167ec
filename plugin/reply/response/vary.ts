import type { FastifyReply } from 'fastify'

/** The fields of the reply's `Vary` header, which may have been set several times. */
function varyOf (reply: FastifyReply): string[] {
  return [reply.getHeader('vary') ?? []].flat().join(',').split(',').map(field => field.trim()).filter(Boolean)
}

/** Adds a field, in lower case, to `Vary`. False if it was there, or `*`. */
export function addVary (reply: FastifyReply, name: string): boolean {
  const fields = varyOf(reply)
  if (fields.some(field => field === '*' || field.toLowerCase() === name)) return false
  reply.header('vary', [...fields, name].join(', '))
  return true
}

/** Removes a field, in lower case, from `Vary`, and the header when it was the only one. */
export function removeVary (reply: FastifyReply, name: string): void {
  const fields = varyOf(reply).filter(field => field.toLowerCase() !== name)
  if (fields.length > 0) reply.header('vary', fields.join(', '))
  else reply.removeHeader('vary')
}
