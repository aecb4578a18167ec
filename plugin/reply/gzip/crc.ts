import { crc32 } from 'node:zlib'
import { sizeOf } from '../frame.ts'
import type { Frame } from '../frame.ts'

/**
 * Combines the CRC-32 of bytes that were checked in parts, as required for gzip (RFC 1952). A register of 32 bits is a
 * polynomial over GF(2) whose highest bit is the coefficient of x^0; appending bytes multiplies the value so far by a
 * power of x.
 */

const POLYNOMIAL = 0xEDB88320

/** The polynomial 1, which is x^0. */
const ONE = 0x80000000

/** The product of two polynomials. */
function multiply (a: number, b: number): number {
  let product = 0
  for (let bit = 0; bit < 32; bit++) {
    product ^= b & -(a >>> 31)
    a <<= 1
    b = (b >>> 1) ^ (POLYNOMIAL & -(b & 1))
  }
  return product >>> 0
}

/** x^8, x^16, x^32, …: the factors for 1, 2, 4, … appended bytes. */
const POWERS = [0x00800000]

/** The factor by which this many appended bytes multiply the CRC of everything before them. */
function crcShift (bytes: number): number {
  let shift = ONE
  for (let bit = 0, rest = bytes; rest > 0; bit++, rest = Math.floor(rest / 2)) {
    const power = POWERS[bit] ??= multiply(POWERS[bit - 1]!, POWERS[bit - 1]!)
    if (rest % 2 === 1) shift = multiply(power, shift)
  }
  return shift
}

/** The CRC of data with the CRC `before`, followed by a frame; the bytes of a shared frame are read only once. */
export function crcAfter (before: number, frame: Frame): number {
  const { gzip } = frame
  if (gzip === undefined) return crc32(frame.bytes, before)
  gzip.check ??= { crc: crc32(frame.bytes), shift: crcShift(sizeOf(frame)) }
  return (multiply(gzip.check.shift, before) ^ gzip.check.crc) >>> 0
}
