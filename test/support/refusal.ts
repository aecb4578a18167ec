import type { Answer } from './service-app.ts'

/** Status, fields and body of a refusal, to be compared with `refused`. */
export const shape = ({ status, json }: Answer) => ({ status, keys: Object.keys(json ?? {}).sort(), json })

/** What a refusal looks like: these four fields and no other. */
export const refused = (status: number, code: string, message: RegExp) => ({ status, keys: ['code', 'error', 'message', 'statusCode'], json: { statusCode: status, code, message } })
