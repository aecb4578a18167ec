import { subscribe } from 'fastify-resumable-sse/client'

const $ = id => document.getElementById(id)

/** The ids of the questions asked in this browser. The answers are on the server. */
const ids = JSON.parse(localStorage.getItem('answers') ?? '[]')
for (const id of ids) show(id)

$('ask').addEventListener('submit', async event => {
  event.preventDefault()
  const id = crypto.randomUUID()
  const response = await fetch(`/answers/${id}`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ prompt: $('prompt').value })
  })
  if (!response.ok) return
  $('prompt').value = ''
  localStorage.setItem('answers', JSON.stringify([...ids, id]))
  ids.push(id)
  show(id)
})

/** Shows an answer from its first token on, while it is generated or afterwards. */
function show (id) {
  const article = $('answer').content.cloneNode(true).querySelector('article')
  const part = name => article.querySelector(`.${name}`)
  const setState = state => {
    part('state').textContent = part('state').dataset.state = state
    part('stop').hidden = state !== 'open'
  }
  $('answers').append(article)

  const answer = subscribe({ url: `/answers/${id}` })
  answer.addEventListener('question', ({ data }) => { part('question').textContent = data })
  answer.addEventListener('token', ({ data }) => part('text').append(data))
  answer.addEventListener('state', ({ detail }) => { if (detail.state !== 'closed') setState(detail.state) })
  answer.addEventListener('end', ({ detail }) => {
    setState(detail.reason)
    answer.close()
  })
  answer.addEventListener('error', ({ detail }) => { if (!detail.willRetry) setState(detail.message) })
  part('stop').addEventListener('click', () => fetch(`/answers/${id}`, { method: 'DELETE' }))
}
