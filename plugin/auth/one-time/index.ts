export { addTokenRoutes } from './one-time-token-routes.ts'
export { OneTimeTokens } from './one-time-tokens.ts'
