/**
 * What a reload of the console and a link to it preserve. Stored in the fragment of the URL, which is not sent to
 * servers. Never contains a token.
 */
export interface PageState {
  readonly topics: readonly string[]
  /** Where a client without a cursor starts: a key of `STARTS`. */
  readonly start: string
  /** The cursor for the start `after`. */
  readonly cursor: string
  readonly filter: string
  readonly search: string
  /** True if the page does not connect automatically. */
  readonly isStopped: boolean
}

/** Where to start, as query parameters of the stream. */
export const STARTS: Readonly<Record<string, string>> = {
  now: '',
  last: 'last=20',
  minutes: 'since=10m',
  oldest: 'since=366d',
  after: ''
}

/** The service's limit for one stream. */
export const MAX_TOPICS = 44
const MAX_LENGTH = 1_024

/** Topic names, separated by white space or commas. */
export function readTopics (text: string): string[] {
  return [...new Set(text.split(/[\s,]+/).filter(topic => topic !== ''))].slice(0, MAX_TOPICS)
}

/** Parses the fragment of a URL. Missing and invalid values get their defaults. */
export function readState (fragment: string): PageState {
  const parameters = new URLSearchParams(fragment.replace(/^#/, ''))
  const textOf = (name: string): string => (parameters.get(name) ?? '').slice(0, MAX_LENGTH)
  const start = textOf('start')
  return {
    topics: readTopics(parameters.getAll('topic').join(' ')),
    start: Object.hasOwn(STARTS, start) ? start : 'now',
    cursor: textOf('cursor'),
    filter: textOf('filter'),
    search: textOf('search'),
    isStopped: parameters.has('stopped')
  }
}

/** Formats the state as a fragment; defaults are omitted. */
export function formatState ({ topics, start, cursor, filter, search, isStopped }: PageState): string {
  const parameters = new URLSearchParams()
  for (const topic of topics) parameters.append('topic', topic)
  if (start !== 'now') parameters.set('start', start)
  if (start === 'after' && cursor !== '') parameters.set('cursor', cursor)
  if (filter !== '') parameters.set('filter', filter)
  if (search !== '') parameters.set('search', search)
  if (isStopped) parameters.set('stopped', '1')
  return parameters.toString()
}

/** Keeps the state of the page in its URL. */
export class StateKeeper {
  #state = readState(location.hash)

  get state (): PageState { return this.#state }

  change (changes: Partial<PageState>): void {
    this.#state = { ...this.#state, ...changes }
    const fragment = formatState(this.#state)
    history.replaceState(null, '', fragment === '' ? location.pathname : `#${fragment}`)
  }

  /** Parses the URL again, after the user has changed it. */
  reread (): PageState {
    this.#state = readState(location.hash)
    return this.#state
  }
}
