import { EventSourceParserStream } from './eventsource-parser/stream.js'

/** Rows kept on the page; older ones go. */
const MAX_ROWS = 500
const $ = id => document.getElementById(id)
const counts = { events: 0, gaps: 0, connects: 0 }

let session

/**
 * One subscription: reads the stream, and after a drop comes back with its cursor, as EventSource does. Read by fetch,
 * because EventSource shows only events whose names are known before, and sends no Authorization header.
 */
class Session {
  #retryMs = 3_000
  #cursor
  #url
  #headers
  #abort
  #isStopped = false

  constructor (url, headers) {
    this.#url = url
    this.#headers = headers
  }

  async run () {
    while (!this.#isStopped && await this.#read()) {
      if (this.#isStopped) break
      showState('waiting', `reconnects in ${this.#retryMs} ms`)
      await new Promise(resolve => setTimeout(resolve, this.#retryMs))
    }
    if (session === this) setConnected(false)
  }

  drop () { this.#abort?.abort() }

  stop () {
    this.#isStopped = true
    this.drop()
    showState('closed', 'stopped')
  }

  /** False when there is no coming back: any status but 200 ends an EventSource. */
  async #read () {
    this.#abort = new AbortController()
    try {
      const cursor = this.#cursor === undefined ? {} : { 'last-event-id': this.#cursor }
      const response = await fetch(this.#url, { headers: { ...this.#headers, ...cursor, accept: 'text/event-stream' }, signal: this.#abort.signal, cache: 'no-store' })
      if (response.status !== 200) return await refused(response)
      showState('open', 'connected')
      count('connects')
      const onRetry = ms => { this.#retryMs = ms }
      const events = response.body.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream({ onRetry }))
      for await (const event of events) this.#take(event)
    } catch {
      // A drop: it comes back.
    }
    return true
  }

  #take ({ id, event = 'message', data }) {
    if (id !== undefined) {
      this.#cursor = id
      $('cursor').textContent = id
    }
    const isGap = event === 'stream.gap'
    if (isGap) count('gaps')
    else if (!event.startsWith('stream.')) count('events')
    addRow([id ?? '', event, data], isGap ? 'gap' : event.startsWith('stream.') ? 'own' : '')
  }
}

async function refused (response) {
  const text = response.status === 204 ? 'finished: all topics were read to their end' : await response.text()
  showState('closed', `closed with ${response.status}`)
  addRow(['', String(response.status), text], response.status === 204 ? 'own' : 'gap')
  return false
}

function addRow (cells, kind) {
  const row = document.createElement('tr')
  row.className = kind
  for (const text of [new Date().toLocaleTimeString(), ...cells]) row.insertCell().textContent = text
  $('rows').prepend(row)
  while ($('rows').rows.length > MAX_ROWS) $('rows').lastElementChild.remove()
}

function count (what) {
  $(what).textContent = ++counts[what]
}

function showState (state, text) {
  $('state').dataset.state = state
  $('state').textContent = text
}

function setConnected (isConnected) {
  $('connect').disabled = isConnected
  $('drop').disabled = $('stop').disabled = !isConnected
}

const authorization = () => {
  const token = $('listen').elements.token.value.trim()
  return token === '' ? {} : { authorization: `Bearer ${token}` }
}

$('listen').addEventListener('submit', event => {
  event.preventDefault()
  const { topics, begin } = event.target.elements
  const query = new URLSearchParams(begin.value)
  for (const topic of topics.value.split(/[\s,]+/).filter(Boolean)) query.append('topic', topic)
  session?.stop()
  session = new Session(`events?${query}`, authorization())
  $('cursor').textContent = 'none'
  setConnected(true)
  showState('waiting', 'connecting')
  session.run()
})

$('publish').addEventListener('submit', async event => {
  event.preventDefault()
  const { topic, event: name, data } = event.target.elements
  const response = await fetch(`topics/${encodeURIComponent(topic.value)}/events`, {
    method: 'POST',
    headers: { ...authorization(), 'content-type': 'application/json' },
    body: JSON.stringify({ data: data.value, ...(name.value === '' ? {} : { event: name.value }) })
  }).catch(error => error)
  $('published').textContent = response instanceof Response ? `${response.status} ${await response.text()}` : String(response)
})

$('drop').addEventListener('click', () => session?.drop())
$('stop').addEventListener('click', () => session?.stop())
$('clear').addEventListener('click', () => $('rows').replaceChildren())
$('publish').elements.data.addEventListener('keydown', event => {
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) $('publish').requestSubmit()
})
