import { defineError } from '../plugin/define-error.ts'

/** Every error of the HTTP surface that is not one of the plugin's or the topics'. */
export const errors = {
  /** A query parameter is missing or malformed. */
  SERVICE_BAD_QUERY: defineError('SERVICE_BAD_QUERY', 'query parameter "%s" must be %s, saw %s', 400),
  /** There is nothing at this path. */
  SERVICE_NO_SUCH_PATH: defineError('SERVICE_NO_SUCH_PATH', 'there is nothing at %s', 404),
  /** The path exists, with other methods. */
  SERVICE_METHOD_NOT_ALLOWED: defineError('SERVICE_METHOD_NOT_ALLOWED', '%s takes %s, saw %s', 405)
} as const
