import { byId, element, setText } from '../page/dom.ts'
import { countOf, formatBytes, formatCount, formatSpan } from '../page/format.ts'
import { explain } from '../page/api.ts'
import type { Api } from '../page/api.ts'
import { Poller } from './poller.ts'

interface Stream {
  readonly topics: readonly string[]
  readonly subject?: string
  readonly ageMs: number
  readonly events: number
  readonly bytes: number
  readonly behind: number
  readonly waitingBytes: number
}
interface StreamList { readonly open: number, readonly lagging: number, readonly streams: readonly Stream[] }

/** Maximum number of rows in the page. */
const MAX_ROWS = 50
/** Number of streams requested. */
const LIMIT = 500
/** Maximum number of topics shown for a stream. */
const MAX_NAMED = 3

/** The open streams of the process that responds, with the most lagging first. */
export class StreamsPanel {
  readonly #rows = byId('streams')
  readonly #message = byId('streams-message')
  readonly #api: Api

  constructor (api: Api) {
    this.#api = api
  }

  start (): void {
    new Poller(this.#api, `streams?limit=${LIMIT}`, {
      body: body => this.#show(body as StreamList),
      failed: error => setText(this.#message, explain(error, this.#api.token.isSet))
    }).start()
  }

  #show ({ open, lagging, streams }: StreamList): void {
    const byLag = [...streams].sort((a, b) => b.behind - a.behind || b.waitingBytes - a.waitingBytes)
    const sorted = byLag.slice(0, MAX_ROWS)
    this.#rows.replaceChildren(...sorted.map(createRow))
    const shown = sorted.length < open ? `, ${formatCount(sorted.length)} shown` : ''
    const counts = `${countOf(open, 'open stream')}${shown}, ${formatCount(lagging)} lagging`
    setText(this.#message, `${counts}, in the process that answers.`)
  }
}

function createRow ({ topics, subject, ageMs, events, bytes, behind, waitingBytes }: Stream): HTMLElement {
  const rest = topics.length - MAX_NAMED
  const isUpToDate = behind === 0 && waitingBytes === 0
  const cells = {
    Topics: topics.slice(0, MAX_NAMED).join(', ') + (rest > 0 ? ` and ${rest} more` : ''),
    Subject: subject ?? '–',
    'Open for': formatSpan(ageMs),
    Sent: `${countOf(events, 'event')}, ${formatBytes(bytes)}`,
    Lag: isUpToDate ? 'none' : `${countOf(behind, 'event')}, ${formatBytes(waitingBytes)} waiting`
  }
  const made = Object.entries(cells).map(([label, text]) => element('td', { 'data-label': label }, text))
  const row = element('tr', {}, ...made)
  row.classList.toggle('lagging', behind > 0)
  return row
}
