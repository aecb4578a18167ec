const cards = new Map([...document.querySelectorAll('[data-match]')].map(card => [card.dataset.match, card]))
const state = document.getElementById('state')
const goals = document.getElementById('goals')

const setState = name => { state.textContent = state.dataset.state = name }

// A plain EventSource: it reconnects automatically and sends the last id that it has seen, which covers all matches.
const query = new URLSearchParams([...cards.keys()].map(match => ['match', match]))
const events = new EventSource(`/scores?${query}`)

events.addEventListener('open', () => setState('open'))
events.addEventListener('error', () => setState(events.readyState === EventSource.CLOSED ? 'closed' : 'waiting'))
events.addEventListener(
  'stream.gap',
  ({ data }) => addLine(`${JSON.parse(data).missed ?? 'Some'} goals are no longer in the log`)
)
events.addEventListener('score', ({ data }) => {
  const { match, home, away } = JSON.parse(data)
  const card = cards.get(match)
  card.querySelector('output').textContent = `${home}–${away}`
  const [host, guest] = [...card.querySelectorAll('span')].map(({ textContent }) => textContent)
  addLine(`${host} ${home}–${away} ${guest}`)
})

/** The newest line comes first. The list keeps 500 lines. */
function addLine (text) {
  const line = document.createElement('li')
  line.textContent = text
  goals.prepend(line)
  if (goals.children.length > 500) goals.lastChild.remove()
}
