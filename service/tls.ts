import { readFileSync } from 'node:fs'
import type { ServerOptions } from 'node:http2'
import { createSecureContext } from 'node:tls'
import type { Server } from 'node:tls'
import type { FastifyBaseLogger } from 'fastify'
import type { ServiceConfig } from './config.ts'

/**
 * Streams that one connection may hold. Browsers send everything for one origin over one connection, and keep to their own
 * bound below this (Chromium 256); a proxy in front may send the streams of many clients over it.
 */
const MAX_CONCURRENT_STREAMS = 1_000

/** What Fastify takes for HTTP/2 with TLS, and HTTP/1.1 on the same port; nothing without a certificate. Reads the files. */
export function secureOptions (config: ServiceConfig): object {
  const { tlsCert, tlsKey } = config
  if (tlsCert === undefined || tlsKey === undefined) return {}
  const settings: ServerOptions['settings'] = { maxConcurrentStreams: MAX_CONCURRENT_STREAMS }
  return { http2: true, https: { ...readPair(tlsCert, tlsKey), allowHTTP1: true, settings } }
}

/** Takes a renewed certificate without a restart; open connections keep the old one. A pair that is no good changes nothing. */
export function reloadCertificate ({ tlsCert, tlsKey }: ServiceConfig, server: Server, logger: FastifyBaseLogger): void {
  if (tlsCert === undefined || tlsKey === undefined) return
  try {
    server.setSecureContext(readPair(tlsCert, tlsKey))
    logger.info({ tlsCert }, 'the certificate was read again')
  } catch (err) {
    logger.error({ err, tlsCert }, 'the certificate cannot be read again, the old one stays')
  }
}

/** Why a certificate and a key cannot be used together; undefined when they can. */
export function problemWithPair (tlsCert: string, tlsKey: string): string | undefined {
  try {
    createSecureContext(readPair(tlsCert, tlsKey))
    return undefined
  } catch (error) {
    return (error as Error).message
  }
}

function readPair (tlsCert: string, tlsKey: string): { cert: Buffer, key: Buffer } {
  return { cert: readFileSync(tlsCert), key: readFileSync(tlsKey) }
}
