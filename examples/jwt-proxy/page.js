const $ = id => document.getElementById(id)
const setState = name => { $('state').textContent = $('state').dataset.state = name }

const post = (path, body) =>
  fetch(path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) })

let events

/** A plain EventSource: it never sees the token. */
function listen () {
  events?.close()
  $('notes').replaceChildren()
  events = new EventSource('/api/events')
  events.addEventListener('open', () => setState('open'))
  events.addEventListener('error', () => setState(events.readyState === EventSource.CLOSED ? 'closed' : 'waiting'))
  events.addEventListener('message', ({ data }) => {
    const line = document.createElement('li')
    line.textContent = data
    $('notes').append(line)
  })
}

for (const [id, path] of [['login', '/login'], ['note', '/api/notes']]) {
  $(id).addEventListener('submit', async event => {
    event.preventDefault()
    const { ok } = await post(path, Object.fromEntries(new FormData($(id))))
    if (ok && id === 'login') listen()
    else if (ok) $(id).elements.text.value = ''
  })
}
listen()
