import type { Answer } from './service/service-app.ts'

/** Status, fields and body of an error response, to be compared with `refused`. */
export const shape = ({ status, json }: Answer) => ({ status, keys: Object.keys(json ?? {}).sort(), json })

/** The expected error response: these four fields and no others. */
export const refused = (status: number, code: string, message: RegExp) =>
  ({ status, keys: ['code', 'error', 'message', 'statusCode'], json: { statusCode: status, code, message } })
