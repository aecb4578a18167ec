import { readFileSync } from 'node:fs'
import type { ServerOptions } from 'node:http2'
import { createSecureContext } from 'node:tls'
import type { Server } from 'node:tls'
import type { FastifyBaseLogger } from 'fastify'
import type { ServiceConfig } from '../config/config.ts'
import type { Timeouts } from './timeouts.ts'

/**
 * Streams that one connection may hold. Browsers send everything for one origin over one connection, and keep to their
 * own bound below this (Chromium 256); a proxy in front may send the streams of many clients over it.
 */
const MAX_CONCURRENT_STREAMS = 1_000

/**
 * What Fastify takes for HTTP/2 with TLS, and HTTP/1.1 on the same port; nothing without a certificate. Reads the
 * files.
 */
export function secureOptions (config: ServiceConfig, { headMs }: Pick<Timeouts, 'headMs'>): object {
  if (config.tlsCert === undefined) return {}
  const settings: ServerOptions['settings'] = { maxConcurrentStreams: MAX_CONCURRENT_STREAMS }
  return { http2: true, https: { ...readPair(config), allowHTTP1: true, handshakeTimeout: headMs, settings } }
}

/**
 * Takes a renewed certificate on SIGHUP, without a restart; open connections keep the old one. A pair that is no good
 * changes nothing. Without TLS nothing listens to the signal, so that a service goes with the terminal it was started
 * in.
 */
export function renewOnSignal (config: ServiceConfig, server: Server, logger: FastifyBaseLogger): void {
  const { tlsCert } = config
  if (tlsCert === undefined) return
  process.on('SIGHUP', () => {
    try {
      server.setSecureContext(readPair(config))
      logger.info({ tlsCert }, 'the certificate was read again')
    } catch (err) {
      logger.error({ err, tlsCert }, 'the certificate cannot be read again, the old one stays')
    }
  })
}

/** Why a certificate and a key cannot be used together; undefined when they can. */
export function problemWithPair (config: ServiceConfig): string | undefined {
  try {
    createSecureContext(readPair(config))
    return undefined
  } catch (error) {
    return (error as Error).message
  }
}

/** Both are given, or neither: anything else is no configuration. */
function readPair ({ tlsCert, tlsKey }: ServiceConfig): { cert: Buffer, key: Buffer } {
  return { cert: readFileSync(tlsCert!), key: readFileSync(tlsKey!) }
}
