const [state, clock, primes] = ['state', 'clock', 'primes'].map(id => document.getElementById(id))
const setState = name => { state.textContent = state.dataset.state = name }

new EventSource('/clock').addEventListener('tick', ({ data }) => {
  clock.textContent = new Date(JSON.parse(data).at).toLocaleTimeString()
})

// After a disconnect it sends the id of the last prime. After the end it gets 204, and closes.
const events = new EventSource('/primes')
events.addEventListener('open', () => setState('open'))
events.addEventListener('error', () => setState(events.readyState === EventSource.CLOSED ? 'closed' : 'waiting'))
events.addEventListener('prime', ({ data }) => primes.append(`${data} `))
