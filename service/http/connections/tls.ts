import { readFileSync } from 'node:fs'
import type { ServerOptions } from 'node:http2'
import { createSecureContext } from 'node:tls'
import type { Server } from 'node:tls'
import type { FastifyBaseLogger } from 'fastify'
import type { ServiceConfig } from '../../config/config.ts'
import { problemWithPem, untimelinessOf } from '../../config/secrets/pem.ts'
import type { Pair } from '../../config/secrets/pem.ts'
import type { Timeouts } from './timeouts.ts'

/**
 * Maximum number of streams per HTTP/2 connection. Browsers send everything for one origin over one connection, and
 * have a lower limit of their own (Chromium 256); a proxy may send the streams of many clients over one connection.
 */
const MAX_CONCURRENT_STREAMS = 1_000

/** Fastify options for HTTP/2 with TLS, and HTTP/1.1 on the same port; empty without a certificate. Reads the files. */
export function secureOptions (config: ServiceConfig, { headMs }: Pick<Timeouts, 'headMs'>): object {
  if (config.tlsCert === undefined) return {}
  const settings: ServerOptions['settings'] = { maxConcurrentStreams: MAX_CONCURRENT_STREAMS }
  return { http2: true, https: { ...readPair(config), allowHTTP1: true, handshakeTimeout: headMs, settings } }
}

/**
 * Loads a renewed certificate on SIGHUP, without a restart; open connections keep the old one. An invalid pair changes
 * nothing. Without TLS the signal stops the service: it ends with the terminal in which it was started.
 */
export function renewOnSignal (config: ServiceConfig, server: Server, logger: FastifyBaseLogger): void {
  const { tlsCert } = config
  if (tlsCert === undefined) return
  process.on('SIGHUP', () => {
    const problem = problemWithPair(config)
    if (problem !== undefined) {
      logger.error({ problem, tlsCert }, 'the certificate cannot be reloaded, the old one remains in use')
      return
    }
    const pair = readPair(config)
    server.setSecureContext(pair)
    logger.info({ tlsCert }, 'the certificate was reloaded')
    const untimely = untimelinessOf(pair.cert)
    if (untimely !== undefined) logger.warn({ tlsCert }, `the certificate ${untimely}: clients reject it`)
  })
}

/** Why a certificate and a key cannot be used together; undefined if they can. */
export function problemWithPair (config: ServiceConfig): string | undefined {
  try {
    const pair = readPair(config)
    const problem = problemWithPem(pair, { cert: 'TLS_CERT', key: 'TLS_KEY' })
    if (problem === undefined) createSecureContext(pair)
    return problem
  } catch (error) {
    return (error as Error).message
  }
}

/** Either both are set or neither: a configuration with only one is invalid. */
function readPair ({ tlsCert, tlsKey }: ServiceConfig): Pair {
  return { cert: readFileSync(tlsCert!), key: readFileSync(tlsKey!) }
}
