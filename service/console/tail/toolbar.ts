import type { SubscriptionState } from 'fastify-resumable-sse/client'
import { byId, setText } from '../page/dom.ts'
import type { PageState, StateKeeper } from '../page/state.ts'
import type { ItemList } from './item-list.ts'

/** Filter, search, pause and clear above the list, and the state of the connection. */
export class Toolbar {
  readonly #list: ItemList
  readonly #filter = byId('filter', HTMLInputElement)
  readonly #search = byId('search', HTMLInputElement)
  readonly #found = byId('found')
  readonly #pause = byId('pause', HTMLButtonElement)
  readonly #state = byId('state')

  constructor (list: ItemList, keeper: StateKeeper) {
    this.#list = list
    this.#filter.addEventListener('input', () => {
      keeper.change({ filter: this.#filter.value })
      list.filter(this.#filter.value)
    })
    this.#search.addEventListener('input', () => {
      keeper.change({ search: this.#search.value })
      this.#applySearch()
    })
    this.#search.addEventListener('keydown', ({ key, shiftKey }) => {
      if (key === 'Enter') this.#step(shiftKey ? -1 : 1)
    })
    byId('search-next').addEventListener('click', () => this.#step(1))
    byId('search-previous').addEventListener('click', () => this.#step(-1))
    this.#pause.addEventListener('click', () => this.#togglePause())
    byId('clear').addEventListener('click', () => list.clear())
  }

  show ({ filter, search }: PageState): void {
    this.#filter.value = filter
    this.#search.value = search
    this.#list.filter(filter)
    this.#applySearch()
  }

  showState (state: SubscriptionState, text: string): void {
    this.#state.dataset['state'] = state
    setText(this.#state, text)
  }

  setConnected (isConnected: boolean): void {
    for (const id of ['drop', 'stop']) byId(id, HTMLButtonElement).disabled = !isConnected
  }

  /** Shows how many items a pause holds back. */
  showHeldBack (text: string): void {
    setText(byId('held-back'), this.#list.isPaused ? `Paused, ${text}.` : '')
  }

  #togglePause (): void {
    const isPaused = !this.#list.isPaused
    this.#list.pause(isPaused)
    this.#pause.setAttribute('aria-pressed', String(isPaused))
    this.showHeldBack('0 new items')
  }

  #applySearch (): void {
    this.#list.search(this.#search.value)
    setText(this.#found, this.#search.value === '' ? '' : `${this.#list.found} found`)
  }

  #step (direction: 1 | -1): void {
    const { at, of } = this.#list.step(direction)
    setText(this.#found, of === 0 ? '0 found' : `${at} of ${of}`)
  }
}
