import { createPrivateKey, X509Certificate } from 'node:crypto'

/** A certificate and its private key, as files contain them. */
export interface Pair { cert: Buffer, key: Buffer }

/**
 * Why a certificate and a key cannot be used together; undefined if nothing is found. OpenSSL reports only codes, such
 * as "no start line". `names` are the variables with the files.
 */
export function problemWithPem ({ cert, key }: Pair, names: Record<keyof Pair, string>): string | undefined {
  const missing = problemWithCertificates(cert, names.cert)
  if (missing !== undefined) return missing
  if (!/-----BEGIN [\w ]*PRIVATE KEY-----/.test(`${key}`)) {
    return `${names.key} contains no private key in PEM format ("-----BEGIN PRIVATE KEY-----")`
  }
  if (`${key}`.includes('ENCRYPTED')) return `${names.key} is encrypted: decrypt it with "openssl pkey -in … -out …"`
  if (new X509Certificate(cert).checkPrivateKey(createPrivateKey(key))) return undefined
  return `${names.key} is not the private key of the first certificate in ${names.cert}`
}

/** OpenSSL ignores authorities that it cannot read. `name` is the variable with the file. */
export function problemWithCertificates (pem: Buffer, name: string): string | undefined {
  if (/-----BEGIN [\w ]*CERTIFICATE-----/.test(`${pem}`)) return undefined
  return `${name} contains no certificate in PEM format ("-----BEGIN CERTIFICATE-----")`
}

/** Why clients reject a certificate at this time, as the rest of a sentence; undefined if they accept it. */
export function untimelinessOf (cert: Buffer, nowMs = Date.now()): string | undefined {
  const { validFrom, validTo } = new X509Certificate(cert)
  if (Date.parse(validTo) < nowMs) return `expired on ${validTo}`
  return Date.parse(validFrom) > nowMs ? `is not valid before ${validFrom}` : undefined
}
