import { subscribe } from 'fastify-resumable-sse/client'

const SHOWN_SECONDS = 120
const [WIDTH, HEIGHT] = [120, 40]

/** The newest values of each topic, and the elements that show them. */
const charts = new Map([...document.querySelectorAll('[data-topic]')].map(section => [
  section.dataset.topic, { section, values: [] }
]))

const subscription = subscribe({ url: '/events', topics: [...charts.keys()], parse: text => JSON.parse(text) })

subscription.addEventListener('message', ({ topic, id, data }) => {
  const { values } = charts.get(topic)
  values.push({ id, ...data })
  while (values[0].at < data.at - SHOWN_SECONDS * 1_000) values.shift()
  draw(charts.get(topic))
})
subscription.addEventListener('state', ({ detail }) => {
  const state = document.getElementById('state')
  state.textContent = state.dataset.state = detail.state
})

/** The newest value is at the right edge; the axis starts at zero, and the highest point is below the upper edge. */
function draw ({ section, values }) {
  const newest = values.at(-1)
  const highest = 1.1 * Math.max(...values.map(({ value }) => value)) || 1
  const points = values.map(({ at, value }) => {
    const x = WIDTH * (1 - (newest.at - at) / 1_000 / SHOWN_SECONDS)
    return `${x.toFixed(2)},${(HEIGHT * (1 - value / highest)).toFixed(2)}`
  })
  section.querySelector('polyline').setAttribute('points', points.join(' '))
  section.querySelector('output').textContent = `${newest.value.toFixed(1)} ${section.dataset.unit ?? ''}`
  section.dataset.ids = values.map(({ id }) => id).join(' ')
}
