import { hostname } from 'node:os'
import { withoutUndefined } from '../../common/option-check.ts'
import { show } from '../../common/show.ts'
import { errors } from '../errors.ts'

/** Options of `app.topics.produce()`. */
export interface ProduceOptions {
  /** How long the topic waits for a producer that is not heard from, in ms, from 100 to 3,600,000. Default 30,000. */
  leaseMs?: number | undefined
  /**
   * How long the first event of a batch waits for others, in ms, up to 10,000; 0 appends at once what arrived
   * meanwhile. Default 20.
   */
  batchMs?: number | undefined
  /** Events appended together, at most, from 1 to 1,000. Default 100. */
  batchEvents?: number | undefined
  /** Ends the lease of another producer of the topic instead of being refused. Default false. */
  takeOver?: boolean | undefined
  /**
   * Names the producer in errors and in `app.topics.info()`: 1 to 128 printable ASCII characters. Default host name and
   * process id.
   */
  holder?: string | undefined
  /** Stops the producer when it aborts. Default none. */
  signal?: AbortSignal | undefined
  /**
   * What readers are told when the source fails. Default: the message of an error with a 4xx `statusCode`, and
   * otherwise the name of its status, as Fastify's error handler does.
   */
  describeError?: ((error: unknown) => string) | undefined
}

type WithDefault = 'leaseMs' | 'batchMs' | 'batchEvents' | 'takeOver' | 'holder'
type Checked = { [K in WithDefault]: NonNullable<ProduceOptions[K]> }
/** With the defaults for what was not given. */
export type CheckedProduceOptions = Omit<ProduceOptions, WithDefault> & Checked

const RANGES = { leaseMs: [100, 3_600_000], batchMs: [0, 10_000], batchEvents: [1, 1_000] } as const
const DEFAULTS = { leaseMs: 30_000, batchMs: 20, batchEvents: 100, takeOver: false }
const HOLDER = /^[\x20-\x7e]{1,128}$/

/** Throws `TOPICS_BAD_OPTION`. */
export function checkProduceOptions (given: ProduceOptions): CheckedProduceOptions {
  if (typeof given !== 'object' || given === null) refuse('options', 'an object', given)
  const options = { ...DEFAULTS, holder: defaultHolder(), ...withoutUndefined(given) } as CheckedProduceOptions
  const unknown = Object.keys(options).find(name => !KNOWN.has(name))
  if (unknown !== undefined) {
    throw new errors.TOPICS_BAD_OPTION(unknown, `one of ${[...KNOWN].join(', ')}`, 'an unknown option')
  }
  for (const [name, [min, max]] of Object.entries(RANGES)) {
    const value = options[name as keyof typeof RANGES]
    if (!Number.isInteger(value) || value < min || value > max) refuse(name, `an integer from ${min} to ${max}`, value)
  }
  const { takeOver, holder, signal, describeError } = options
  if (typeof takeOver !== 'boolean') refuse('takeOver', 'true or false', takeOver)
  if (typeof holder !== 'string' || !HOLDER.test(holder)) refuse('holder', '1 to 128 printable ASCII', holder)
  if (signal !== undefined && typeof signal.addEventListener !== 'function') refuse('signal', 'an AbortSignal', signal)
  if (typeof (describeError ?? Object) !== 'function') refuse('describeError', 'a function', describeError)
  return options
}

const KNOWN = new Set([...Object.keys(RANGES), 'takeOver', 'holder', 'signal', 'describeError'])

function refuse (name: string, allowed: string, seen: unknown): never {
  throw new errors.TOPICS_BAD_OPTION(name, allowed, show(seen))
}

function defaultHolder (): string {
  return `${hostname()}:${process.pid}`.replace(/[^\x20-\x7e]/g, '?').slice(-128)
}
