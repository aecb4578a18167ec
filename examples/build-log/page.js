import { subscribe } from 'fastify-resumable-sse/client'

const [state, log] = ['state', 'log'].map(id => document.getElementById(id))

document.getElementById('start').addEventListener('submit', async event => {
  event.preventDefault()
  const response = await fetch('/builds', { method: 'POST' })
  if (response.ok) location.hash = (await response.json()).id
})

addEventListener('hashchange', () => location.reload())
if (location.hash) follow(location.hash.slice(1)).catch(error => setState('closed', error.message))

/** The loop ends when the server has sent the end of the log. */
async function follow (id) {
  log.hidden = false
  const build = subscribe({ url: `/builds/${id}/log` })
  build.addEventListener('state', ({ detail }) => setState(detail.state))
  // Without a result its server was killed or stopped.
  let result = 'aborted'
  for await (const item of build) {
    if (item.kind === 'gap') addLine(`(${item.missed ?? 'some'} lines are no longer in the log)`)
    else if (item.event === 'line') addLine(item.data)
    else if (item.event === 'result') result = item.data
  }
  setState('closed', result)
}

function setState (name, text = name) {
  state.hidden = false
  state.dataset.state = name
  state.textContent = text
}

/** Scrolls along with the end of the log, unless the reader has scrolled up. */
function addLine (line) {
  const isAtEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 10
  log.append(`${line}\n`)
  if (isAtEnd) log.scrollTop = log.scrollHeight
}
