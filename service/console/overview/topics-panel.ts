import { byId, element, setText } from '../page/dom.ts'
import { countOf, formatRate, numberOf } from '../page/format.ts'
import { explain } from '../page/api.ts'
import type { Api } from '../page/api.ts'
import { Poller } from './poller.ts'
import { Rates } from './rates.ts'
import { Sparkline } from './sparkline.ts'

interface Topic { readonly topic: string, readonly last: string | null, readonly subscribers: number }
interface TopicList { readonly topics: readonly Topic[], readonly total: number }

interface Row {
  readonly node: HTMLElement
  readonly plot: Sparkline
  readonly rate: HTMLElement
  readonly facts: HTMLElement
  readonly toggle: HTMLButtonElement
}

/** Maximum number of rows in the page. */
const MAX_ROWS = 60

export interface TopicsPanelInit {
  readonly api: Api
  /** Topics that the page is subscribed to. */
  readonly tailed: () => readonly string[]
  /** Adds a topic to the subscription, or removes it. */
  readonly toggle: (topic: string) => void
}

/** The topics that the service has seen, with their rates. */
export class TopicsPanel {
  readonly #init: TopicsPanelInit
  readonly #list = byId('topics')
  readonly #message = byId('topics-message')
  readonly #rates = new Rates()
  readonly #rows = new Map<string, Row>()

  constructor (init: TopicsPanelInit) {
    this.#init = init
  }

  start (): void {
    const { api } = this.#init
    new Poller(api, `topics?limit=${MAX_ROWS}`, {
      body: body => this.#show(body as TopicList),
      failed: error => setText(this.#message, explain(error, api.token.isSet))
    }).start()
  }

  /** Called when the page subscribes to other topics. */
  refresh (): void {
    const tailed = this.#init.tailed()
    for (const [topic, { toggle }] of this.#rows) toggle.setAttribute('aria-pressed', String(tailed.includes(topic)))
  }

  #show ({ topics, total }: TopicList): void {
    this.#rates.sample(new Map(topics.map(({ topic, last }) => [topic, last])), performance.now())
    // Ordered by name, so that rows do not move while somebody is about to tap one.
    const shown = [...topics].sort((a, b) => a.topic < b.topic ? -1 : 1)
    this.#keepOnly(new Set(shown.map(({ topic }) => topic)))
    shown.forEach((each, at) => this.#place(this.#update(each), at))
    setText(this.#message, describe(shown.length, total))
    this.refresh()
  }

  #keepOnly (names: ReadonlySet<string>): void {
    for (const [topic, { node }] of this.#rows) {
      if (names.has(topic)) continue
      this.#rows.delete(topic)
      node.remove()
    }
  }

  #place (node: HTMLElement, at: number): void {
    if (this.#list.children[at] !== node) this.#list.insertBefore(node, this.#list.children[at] ?? null)
  }

  #update ({ topic, last, subscribers }: Topic): HTMLElement {
    const row = this.#rows.get(topic) ?? this.#create(topic)
    const events = last === null ? 'no events' : countOf(numberOf(last) ?? 0, 'event')
    setText(row.rate, formatRate(this.#rates.rateOf(topic)))
    setText(row.facts, `${events}, ${countOf(subscribers, 'stream')}`)
    row.plot.show(this.#rates.samplesOf(topic))
    return row.node
  }

  #create (topic: string): Row {
    const plot = new Sparkline()
    const [rate, facts] = [element('span', { class: 'rate' }), element('span', { class: 'facts' })]
    const toggle = element('button', { type: 'button', 'aria-pressed': 'false', 'aria-label': `Tail ${topic}` }, 'Tail')
    toggle.addEventListener('click', () => this.#init.toggle(topic))
    const node = element('li', {}, element('span', { class: 'topic' }, topic), rate, plot.node, facts, toggle)
    const row = { node, plot, rate, facts, toggle }
    this.#rows.set(topic, row)
    return row
  }
}

function describe (shown: number, total: number): string {
  if (total === 0) return 'None yet: publish an event, or subscribe.'
  return total > shown ? `The ${shown} most recently active of ${countOf(total, 'topic')}.` : ''
}
