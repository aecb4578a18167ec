import type { FastifyInstance, RouteOptions } from 'fastify'
import { asksForCredentials, needsGrant } from '../auth.ts'
import type { ServiceConfig } from '../config/config.ts'

/** A way to show who one is, as OpenAPI describes it. */
type SecurityScheme = { description: string } & (
  | { type: 'http', scheme: 'bearer', bearerFormat: string }
  | { type: 'apiKey', in: 'query' | 'header' | 'cookie', name: string }
)

type SchemeName = 'bearer' | 'oneTimeToken' | 'cookie' | 'proxy'

/** The ways that the configuration opens, by name and in the order in which they count; none where nobody is asked. */
export function securitySchemes (config: ServiceConfig): Partial<Record<SchemeName, SecurityScheme>> {
  if (!asksForCredentials(config)) return {}
  const { jwtSecret, jwtPublicKey, jwksUrl, jwtClaim, cookieName, proxyHeader } = config
  const hasKey = [jwtSecret, jwtPublicKey, jwksUrl].some(key => key !== undefined)
  return {
    ...(hasKey && {
      bearer: {
        type: 'http',
        scheme: 'bearer',
        bearerFormat: 'JWT',
        description: `A JSON Web Token, whose claim "${jwtClaim}" holds the rights.`
      }
    }),
    oneTimeToken: {
      type: 'apiKey',
      in: 'query',
      name: 'ot',
      description:
        'A token of POST /events/auth, for one stream and, with the cookie of that stream, for its reconnects.'
    },
    ...(cookieName !== undefined && {
      cookie: { type: 'apiKey', in: 'cookie', name: cookieName, description: 'The same JSON Web Token in a cookie.' }
    }),
    ...(proxyHeader !== undefined && {
      proxy: {
        type: 'apiKey',
        in: 'header',
        name: proxyHeader,
        description: 'The subject, set by a proxy that authenticates; from anybody else it does not count.'
      }
    })
  }
}

/** Says of each route that is added from here on which of them it takes: any one of those it names. */
export function describeSecurity (app: FastifyInstance, config: ServiceConfig): void {
  const names = Object.keys(securitySchemes(config)) as SchemeName[]
  if (names.length === 0) return
  app.addHook('onRoute', route => {
    const taken = needsGrant(route) ? names.filter(name => name !== 'oneTimeToken' || isGet(route)) : []
    route.schema = { ...route.schema, security: taken.map(name => ({ [name]: [] })) }
  })
}

/** A one-time token is for nothing else. */
const isGet = ({ method }: RouteOptions): boolean => method === 'GET' || method === 'HEAD'
