import { checkOptions, folderPath, isFunction, oneOf, withoutUndefined } from '../../../common/option-check.ts'
import type { OptionCheck } from '../../../common/option-check.ts'
import { badOption } from '../../errors.ts'
import { retentionRules } from '../../retention.ts'
import type { RetentionRule } from '../../retention.ts'

export interface LmdbLogOptions {
  /** Folder of the files; created, for its owner alone, if it does not exist. Only one process at a time may use it. */
  folder: string
  /** Retention by topic pattern; the first matching rule applies. */
  retention?: readonly RetentionRule[]
  /**
   * When an append is acknowledged: `'disk'` when it is flushed to the disk, so that it survives a power failure;
   * `'process'` when it was passed to the operating system, so that it survives the end of this process. Default
   * `'disk'`.
   */
  durability?: 'disk' | 'process'
  /** The clock, in Unix ms. Default `Date.now`. */
  now?: () => number
}

const CHECKS: Readonly<Record<keyof LmdbLogOptions, OptionCheck>> = {
  folder: folderPath,
  retention: retentionRules,
  durability: oneOf('disk', 'process'),
  now: { range: 'a function', ok: isFunction }
}

/** Fills in the defaults. Throws `TOPICS_BAD_OPTION`; the rules of `retention` are checked where they are used. */
export function resolveLmdbLogOptions (options: LmdbLogOptions): Required<LmdbLogOptions> {
  checkOptions(options, CHECKS, badOption)
  return { retention: [], durability: 'disk', now: Date.now, ...withoutUndefined(options) }
}
