import type { FastifyInstance } from 'fastify'
import { asksForCredentials, needsGrant, takesTokens } from '../../auth.ts'
import type { ServiceConfig } from '../../config/config.ts'

/** An authentication scheme, as OpenAPI describes it. */
type SecurityScheme = { description: string } & (
  | { type: 'http', scheme: 'bearer', bearerFormat: string }
  | { type: 'apiKey', in: 'query' | 'header' | 'cookie', name: string }
)

type SchemeName = 'bearer' | 'oneTimeToken' | 'cookie' | 'proxy'

/** The schemes that the configuration enables, by name and in order of precedence; empty without authentication. */
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
        description: `A JSON Web Token, whose claim "${jwtClaim}" contains the rights.`
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
        description: 'The subject, set by an authenticating proxy; ignored in requests from any other address.'
      }
    })
  }
}

/** Adds to each route that is added after this call the schemes that it accepts, any one of which is sufficient. */
export function describeSecurity (app: FastifyInstance, config: ServiceConfig): void {
  const names = Object.keys(securitySchemes(config)) as SchemeName[]
  if (names.length === 0) return
  app.addHook('onRoute', route => {
    const taken = needsGrant(route) ? names.filter(name => name !== 'oneTimeToken' || takesTokens(route)) : []
    route.schema = { ...route.schema, security: taken.map(name => ({ [name]: [] })) }
  })
}
