import { byId, copy, setText } from '../page/dom.ts'
import { bytesOf, formatBytes, formatSpan, formatTime, prettyJson, timeOf } from '../page/format.ts'
import type { Item } from './item.ts'

/** One event in full: id, age, size, and its data, indented if it is JSON. */
export class Inspector {
  readonly #panel = byId('inspector')
  readonly #onClose: () => void
  #item: Item | undefined

  constructor (onClose: () => void) {
    this.#onClose = onClose
    byId('close-inspector', HTMLButtonElement).addEventListener('click', () => this.close())
    const copyData = byId('copy-data', HTMLButtonElement)
    copyData.addEventListener('click', () => { void copy(copyData, byId('inspected-data')) })
    this.#panel.addEventListener('keydown', event => { if (event.key === 'Escape') this.close() })
    setInterval(() => this.#showAge(), 1_000)
  }

  open (item: Item): void {
    this.#item = item
    const pretty = item.kind === 'event' ? prettyJson(item.data) : undefined
    setText(byId('inspected-topic'), item.topic || '–')
    setText(byId('inspected-id'), item.id || '–')
    setText(byId('inspected-event'), item.event)
    setText(byId('inspected-size'), item.kind === 'event' ? formatBytes(bytesOf(item.data)) : '–')
    setText(byId('inspected-received'), formatTime(item.atMs))
    setText(byId('inspected-cursor'), item.cursor || '–')
    setText(byId('inspected-type'), pretty === undefined ? 'Text' : 'JSON')
    byId('inspected-data').textContent = pretty ?? item.data
    this.#showAge()
    this.#panel.hidden = false
    byId('events').classList.add('inspecting')
    byId('inspector-title').focus({ preventScroll: true })
    // On a narrow screen the panel is below the list.
    const { top } = this.#panel.getBoundingClientRect()
    if (top < 0 || top > innerHeight / 2) this.#panel.scrollIntoView({ block: 'nearest' })
  }

  close (): void {
    this.#item = undefined
    this.#panel.hidden = true
    byId('events').classList.remove('inspecting')
    this.#onClose()
  }

  /** The age is the difference between the clock of this machine and that of the log. */
  #showAge (): void {
    if (this.#item === undefined) return
    const publishedMs = timeOf(this.#item.id)
    setText(byId('inspected-age'), publishedMs === undefined ? '–' : formatSpan(Date.now() - publishedMs))
  }
}
