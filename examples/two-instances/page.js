const $ = id => document.getElementById(id)
const setState = name => { $('state').textContent = $('state').dataset.state = name }

// A plain EventSource: when its instance dies, it reconnects through nginx to the other one, and continues after the
// last message.
const events = new EventSource('/events')
events.addEventListener('open', () => setState('open'))
events.addEventListener('error', () => setState(events.readyState === EventSource.CLOSED ? 'closed' : 'waiting'))
events.addEventListener('instance', ({ data }) => {
  const { instance, pid } = JSON.parse(data)
  $('instance').textContent = instance
  $('pid').textContent = pid
})
events.addEventListener('message', ({ data }) => {
  const { text, instance } = JSON.parse(data)
  const line = document.createElement('li')
  line.textContent = `${text} (published by instance ${instance})`
  $('messages').append(line)
})

$('send').addEventListener('submit', async event => {
  event.preventDefault()
  const body = JSON.stringify({ text: $('send').elements.text.value })
  const { ok } = await fetch('/messages', { method: 'POST', headers: { 'content-type': 'application/json' }, body })
  if (ok) $('send').elements.text.value = ''
})
