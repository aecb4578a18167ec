import type { ErrorDetail } from 'fastify-resumable-sse/client'
import { byId, copy, fieldOf, setText } from '../page/dom.ts'
import { explain, urlOf } from '../page/api.ts'
import type { Api } from '../page/api.ts'
import { countOf, formatBytes, formatCount, formatSpan } from '../page/format.ts'
import { MAX_TOPICS, readTopics, STARTS } from '../page/state.ts'
import type { PageState, StateKeeper } from '../page/state.ts'
import { Inspector } from './inspector.ts'
import { ItemList } from './item-list.ts'
import { ItemStore } from './item-store.ts'
import { Session } from './session.ts'
import type { SessionListener } from './session.ts'
import { Toolbar } from './toolbar.ts'

export interface TailPanelInit {
  readonly api: Api
  readonly keeper: StateKeeper
  /** The service requires credentials. */
  readonly onUnauthorized: (why: string) => void
  /** The topics have changed. */
  readonly onTopics: () => void
}

/** Subscribes, and shows the events. */
export class TailPanel {
  readonly #init: TailPanelInit
  readonly #form = byId('listen', HTMLFormElement)
  readonly #store = new ItemStore()
  readonly #list: ItemList
  readonly #toolbar: Toolbar
  #session: Session | undefined
  /** Number of the current session: reports of earlier ones are ignored. */
  #generation = 0

  constructor (init: TailPanelInit) {
    this.#init = init
    const inspector = new Inspector(() => this.#list.focus())
    this.#list = new ItemList(this.#store, item => inspector.open(item))
    this.#toolbar = new Toolbar(this.#list, init.keeper)
    this.#form.addEventListener('submit', event => {
      event.preventDefault()
      this.#readForm()
      this.connect()
    })
    this.#form.addEventListener('input', () => this.#showCursorField())
    byId('drop').addEventListener('click', () => this.#session?.reconnect())
    byId('stop').addEventListener('click', () => this.stop())
    const copyCurl = byId('copy-curl', HTMLButtonElement)
    copyCurl.addEventListener('click', () => { void copy(copyCurl, byId('curl')) })
    this.show(init.keeper.state)
    setInterval(() => this.#showSession(), 1_000)
  }

  get topics (): readonly string[] {
    return this.#session?.state === 'closed' ? [] : this.#session?.topics ?? []
  }

  /** Shows a state in the fields, and applies its filter. */
  show (state: PageState): void {
    fieldOf(this.#form, 'topics').value = state.topics.join(' ')
    fieldOf(this.#form, 'start').value = state.start
    fieldOf(this.#form, 'cursor').value = state.cursor
    this.#toolbar.show(state)
    this.#showCursorField()
    this.#showCurl()
  }

  /**
   * Subscribes according to the state. If only the topics change, a running subscription keeps its positions in the
   * others.
   */
  connect (): void {
    this.#generation++
    this.#session?.stop()
    const { topics, start, cursor } = this.#init.keeper.state
    if (topics.length === 0) return
    const { token } = this.#init.api
    const url = urlOf(`events?${STARTS[start] ?? ''}`)
    const init = { url, topics, cursor: start === 'after' ? cursor : '', token: token.value }
    this.#session = new Session(init, this.#listener())
    this.#init.keeper.change({ isStopped: false })
    this.#toolbar.setConnected(true)
    this.#changed()
  }

  stop (): void {
    this.#init.keeper.change({ isStopped: true })
    this.#session?.stop()
  }

  /** Adds a topic, or removes it; the others keep their positions. */
  toggle (topic: string): void {
    const before = this.topics
    const others = before.filter(each => each !== topic)
    const topics = others.length < before.length ? others : [...before, topic].slice(-MAX_TOPICS)
    this.#init.keeper.change({ topics })
    fieldOf(this.#form, 'topics').value = topics.join(' ')
    if (topics.length === 0) this.stop()
    else if (before.length === 0) this.connect()
    else this.#session!.setTopics(topics)
    this.#changed()
  }

  #readForm (): void {
    const topics = readTopics(fieldOf(this.#form, 'topics').value)
    const [start, cursor] = ['start', 'cursor'].map(name => fieldOf(this.#form, name).value.trim())
    this.#init.keeper.change({ topics, start: start!, cursor: cursor! })
  }

  #changed (): void {
    this.#init.onTopics()
    this.#showCurl()
    this.#showSession()
  }

  #listener (): SessionListener {
    const generation = this.#generation
    const ifCurrent = (act: () => void): void => { if (generation === this.#generation) act() }
    return {
      item: item => ifCurrent(() => {
        this.#store.add(item)
        this.#list.schedule()
      }),
      state: (state, text) => ifCurrent(() => this.#toolbar.showState(state, text)),
      closed: failure => ifCurrent(() => this.#closed(failure))
    }
  }

  #closed (failure: ErrorDetail | undefined): void {
    this.#toolbar.setConnected(false)
    this.#changed()
    if (failure?.status !== 401 && failure?.status !== 403) return
    const { message, status } = failure
    this.#init.onUnauthorized(explain({ message, status }, this.#init.api.token.isSet))
  }

  #showCursorField (): void {
    byId('cursor-field').hidden = fieldOf(this.#form, 'start').value !== 'after'
  }

  #showCurl (): void {
    const { topics, start, cursor } = this.#init.keeper.state
    const url = urlOf(`events?${STARTS[start] ?? ''}`)
    for (const topic of topics) url.searchParams.append('topic', topic)
    if (start === 'after' && cursor !== '') url.searchParams.set('lastEventId', cursor)
    const header = this.#init.api.token.isSet ? ' -H "Authorization: Bearer $TOKEN"' : ''
    setText(byId('curl'), topics.length === 0 ? '' : `curl -N '${url.href.replaceAll("'", '%27')}'${header}`)
    byId('curl-field').hidden = topics.length === 0
  }

  #showSession (): void {
    const session = this.#session
    if (session === undefined) return
    setText(byId('event-count'), formatCount(session.events))
    setText(byId('gap-count'), formatCount(session.gaps))
    byId('gap-counter').classList.toggle('warn', session.gaps > 0)
    setText(byId('reconnect-count'), formatCount(session.reconnects))
    setText(byId('cursor'), session.cursor || 'none')
    const { lastByteAt, bytes } = session.watched
    const silence = lastByteAt === undefined ? '' : `, the last ${formatSpan(performance.now() - lastByteAt)} ago`
    setText(byId('bytes'), session.state === 'closed' ? '' : `${formatBytes(bytes)} received${silence}`)
    this.#toolbar.showHeldBack(countOf(this.#list.heldBack, 'new item'))
  }
}
