import { subscribeNative } from 'fastify-resumable-sse/client'

const $ = id => document.getElementById(id)
const setState = name => { $('state').textContent = $('state').dataset.state = name }

const post = (path, body = {}) =>
  fetch(path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) })

/** Exchanges the session cookie for a token for one stream. */
async function getToken () {
  const response = await post('/events/auth')
  if (!response.ok) throw new Error(`no token: ${response.status}`)
  return (await response.json()).token
}

let orders

function listen () {
  orders?.close()
  $('orders').replaceChildren()
  // EventSource sends no headers. The token in the URL opens one stream, and is worthless afterwards, even if somebody
  // finds it in a log.
  orders = subscribeNative({
    url: '/orders', getToken, tokenParameter: 'ot', eventNames: ['order'], parse: text => JSON.parse(text)
  })
  orders.addEventListener('state', ({ detail }) => setState(detail.state))
  orders.addEventListener('order', ({ data }) => {
    const line = document.createElement('li')
    line.textContent = `${data.product}, ordered by ${data.by}`
    $('orders').append(line)
  })
}

for (const [id, path] of [['login', '/login'], ['order', '/orders']]) {
  $(id).addEventListener('submit', async event => {
    event.preventDefault()
    const { ok } = await post(path, Object.fromEntries(new FormData($(id))))
    if (ok && id === 'login') listen()
    else if (ok) $(id).elements.product.value = ''
  })
}
setState('closed')
