import { crc32 } from 'node:zlib'
import { errors } from '../../errors.ts'

/** Size of the checksum before the JSON. */
const SUM_BYTES = 4

/**
 * The format of a record in the files: JSON preceded by its CRC-32, so that bytes damaged on the disk are detected and
 * never used. JSON instead of the library's MessagePack, which has no checksum and decodes damaged bytes as other
 * values.
 */
export class RecordEncoder {
  readonly #folder: string

  /** The folder is included in error messages. */
  constructor (folder: string) {
    this.#folder = folder
  }

  encode (value: unknown): Buffer {
    const text = JSON.stringify(value)
    const record = Buffer.allocUnsafe(SUM_BYTES + Buffer.byteLength(text))
    record.write(text, SUM_BYTES)
    record.writeUInt32LE(crc32(record.subarray(SUM_BYTES)))
    return record
  }

  /** Throws `TOPICS_LOG_CORRUPT`. The library reuses the buffer: only its first `length` bytes are the record. */
  decode (buffer: Buffer): unknown {
    return JSON.parse(this.#check(buffer).toString()) as unknown
  }

  /**
   * The number with which the array in a record begins. Parsing the rest, such as 256 KiB of data, takes twenty times
   * as long. Throws `TOPICS_LOG_CORRUPT`.
   */
  firstNumber (buffer: Buffer): number {
    const body = this.#check(buffer)
    return Number(body.toString('latin1', 1, body.indexOf(',')))
  }

  /** The JSON of an intact record. */
  #check (buffer: Buffer): Buffer {
    const body = buffer.subarray(SUM_BYTES, buffer.length)
    if (buffer.length <= SUM_BYTES || buffer.readUInt32LE() !== crc32(body)) {
      throw new errors.TOPICS_LOG_CORRUPT(this.#folder, 'a record is damaged')
    }
    return body
  }
}
