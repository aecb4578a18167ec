import { subscribe } from 'fastify-resumable-sse/client'

const $ = id => document.getElementById(id)

const post = (path, body = {}) =>
  fetch(path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) })

for (const [id, path] of [['login', '/login'], ['send', '/notifications']]) {
  $(id).addEventListener('submit', async event => {
    event.preventDefault()
    const { ok } = await post(path, Object.fromEntries(new FormData($(id))))
    if (ok && id === 'login') await start()
    else if (ok) $(id).elements.text.value = ''
  })
}
$('logout').addEventListener('click', () => post('/logout'))

/** Shows existing notifications, and then new ones. */
async function start () {
  const response = await fetch('/notifications')
  if (!response.ok) return showLogin()
  const { name, events, cursor } = await response.json()
  $('login').hidden = true
  $('inbox').hidden = false
  $('name').textContent = name
  $('list').replaceChildren()
  for (const { data } of events) show(JSON.parse(data))

  const subscription = subscribe({
    url: '/events',
    topics: [`users/${name}`],
    lastEventId: cursor,
    parse: text => JSON.parse(text),
    // One connection for all tabs: over HTTP/1.1 a browser opens at most six to a host.
    shareAcrossTabs: true
  })
  subscription.addEventListener('message', ({ data }) => show(data))
  subscription.addEventListener('state', ({ detail }) => showState(detail.state))
  // The user signed out here, in another tab or on another device.
  subscription.addEventListener('error', ({ detail }) => { if (!detail.willRetry) showLogin() })
}

function show ({ from, text }) {
  const line = document.createElement('li')
  const name = document.createElement('strong')
  name.textContent = from
  line.append(name, ' ', text)
  $('list').prepend(line)
}

function showLogin () {
  $('inbox').hidden = true
  $('login').hidden = false
}

async function showState (state) {
  $('state').hidden = state === 'closed'
  $('state').textContent = $('state').dataset.state = state
  $('streams').textContent = (await (await fetch('/streams')).json()).streams
}

await start()
