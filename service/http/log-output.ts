import { writeSync } from 'node:fs'
import { hostname } from 'node:os'

const STDOUT = 1
/** Lines that wait for a slow reader; further ones are lost. */
const MAX_BYTES = 1024 * 1024
/** While the pipe is full, it is tried again after this time, and with each new line. */
const RETRY_MS = 100
/** Pino's level of a warning. */
const WARN = 40

/** A line that has not been completely written; `lines` is what is lost without it. */
interface Line { bytes: Buffer, readonly lines: number, isBegun: boolean }

/**
 * Where the service's log is written: a stream for pino that never throws, and never keeps the process alive. Pino's
 * own stream for stdout ends the process on an error, and on exit repeats the write until it succeeds: on a full disk,
 * the service would hang until it is killed.
 *
 * A line that cannot be written is lost. When writing works again, one line reports how many were, and why, before the
 * next line. Lines wait while a pipe is full because its reader is slow, up to `maxBytes`; when the process exits, they
 * are tried once more.
 */
export class LogOutput {
  readonly #fd: number
  readonly #maxBytes: number
  readonly #queue: Line[] = []
  #bytes = 0
  #lost = { lines: 0, reason: '' }
  #timer: NodeJS.Timeout | undefined
  #hasWaited = false

  constructor (fd = STDOUT, maxBytes = MAX_BYTES) {
    this.#fd = fd
    this.#maxBytes = maxBytes
  }

  /** Writes a line, which ends in a newline. */
  write (line: string): void {
    if (this.#isFull) this.#flush()
    if (this.#isFull) return this.#lose(1, 'stdout is read too slowly')
    if (this.#lost.lines > 0) this.#enqueueReport()
    this.#enqueue(line, 1)
    this.#flush()
  }

  get #isFull (): boolean { return this.#bytes >= this.#maxBytes }

  #enqueueReport (): void {
    const { lines, reason } = this.#lost
    this.#lost = { lines: 0, reason: '' }
    const msg = `${lines} ${lines === 1 ? 'line of the log was' : 'lines of the log were'} lost: ${reason}`
    const report = { level: WARN, time: Date.now(), pid: process.pid, hostname: hostname(), lines, reason, msg }
    this.#enqueue(`${JSON.stringify(report)}\n`, lines)
  }

  #enqueue (line: string, lines: number): void {
    const bytes = Buffer.from(line)
    this.#queue.push({ bytes, lines, isBegun: false })
    this.#bytes += bytes.length
  }

  #flush (): void {
    try {
      for (let line = this.#queue[0]; line !== undefined; line = this.#queue[0]) this.#writeSome(line)
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException
      if (code === 'EAGAIN') this.#wait()
      else this.#drop(message)
    }
  }

  /** On an almost full disk or pipe only the beginning of the line is written. */
  #writeSome (line: Line): void {
    const written = writeSync(this.#fd, line.bytes)
    this.#bytes -= written
    line.bytes = line.bytes.subarray(written)
    line.isBegun = true
    if (line.bytes.length === 0) this.#queue.shift()
  }

  #wait (): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      this.#flush()
    }, RETRY_MS).unref()
    if (!this.#hasWaited) process.once('exit', () => this.#flush())
    this.#hasWaited = true
  }

  /** Keeps only a line whose beginning has been written, so that the log stays JSON lines. */
  #drop (reason: string): void {
    const kept = this.#queue[0]!.isBegun ? 1 : 0
    for (const { bytes, lines } of this.#queue.splice(kept)) {
      this.#bytes -= bytes.length
      this.#lose(lines, reason)
    }
  }

  #lose (lines: number, reason: string): void {
    this.#lost = { lines: this.#lost.lines + lines, reason }
  }
}
