import { SAMPLES } from './rates.ts'

const SVG = 'http://www.w3.org/2000/svg'
const WIDTH = 96
const HEIGHT = 20

/** A small plot, scaled to its highest sample. It is decoration: the rate is shown next to it as text. */
export class Sparkline {
  readonly node = document.createElementNS(SVG, 'svg')
  readonly #area = document.createElementNS(SVG, 'path')
  readonly #line = document.createElementNS(SVG, 'path')

  constructor () {
    const viewBox = `0 0 ${WIDTH} ${HEIGHT}`
    const attributes = { viewBox, preserveAspectRatio: 'none', 'aria-hidden': 'true', class: 'plot' }
    for (const [name, value] of Object.entries(attributes)) this.node.setAttribute(name, value)
    this.#area.setAttribute('class', 'area')
    this.#line.setAttribute('class', 'line')
    this.node.append(this.#area, this.#line)
  }

  /** Shows samples, with the newest at the right edge. */
  show (samples: readonly number[]): void {
    const highest = Math.max(1e-9, ...samples)
    const step = WIDTH / (SAMPLES - 1)
    const left = WIDTH - step * (samples.length - 1)
    const points = samples.map((value, at) => {
      const y = HEIGHT - 1 - value / highest * (HEIGHT - 2)
      return `${(left + at * step).toFixed(1)} ${y.toFixed(1)}`
    })
    const line = points.length === 0 ? '' : `M${points.join('L')}`
    this.#line.setAttribute('d', line)
    this.#area.setAttribute('d', line === '' ? '' : `${line}L${WIDTH} ${HEIGHT}L${left.toFixed(1)} ${HEIGHT}Z`)
  }
}
