import type { Chart } from '../scenario.ts'

const WIDTH = 640
const HEIGHT = 320
const LEFT = 64
const RIGHT = 130
const TOP = 36
const BOTTOM = 48
const COLORS = ['#1f6feb', '#6e7781', '#cf222e', '#1a7f37', '#8250df', '#bf8700']

type Scale = (value: number) => number

/** A line chart with logarithmic axes, as a self-contained SVG. */
export function toSvg ({ title, x, y, series }: Chart): string {
  const points = Object.values(series).flat()
  const scaleX = logScale(points.map(([at]) => at), LEFT, WIDTH - RIGHT)
  const scaleY = logScale(points.map(([, value]) => value), HEIGHT - BOTTOM, TOP)
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12">`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#ffffff"/>`,
    text(LEFT, 20, title, 'font-size="14" font-weight="bold"'),
    ...ticks(points.map(([at]) => at)).map(at => axisX(scaleX(at), shown(at))),
    ...ticks(points.map(([, value]) => value)).map(value => axisY(scaleY(value), shown(value))),
    text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, x, 'text-anchor="middle"'),
    text(0, 0, y, `text-anchor="middle" transform="translate(14 ${(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)"`),
    ...Object.entries(series).flatMap(([name, line], at) => drawLine(name, line, at, scaleX, scaleY)),
    '</svg>',
    ''
  ].join('\n')
}

function drawLine (
  name: string,
  line: ReadonlyArray<readonly [number, number]>,
  at: number,
  scaleX: Scale,
  scaleY: Scale
): string[] {
  const color = COLORS[at % COLORS.length]!
  const points = line.map(([x, y]) => [scaleX(x).toFixed(1), scaleY(y).toFixed(1)] as const)
  return [
    `<polyline points="${points.join(' ')}" fill="none" stroke="${color}" stroke-width="2"/>`,
    ...points.map(([x, y]) => `<circle cx="${x}" cy="${y}" r="3" fill="${color}"/>`),
    `<rect x="${WIDTH - RIGHT + 12}" y="${TOP + at * 20}" width="12" height="12" fill="${color}"/>`,
    text(WIDTH - RIGHT + 30, TOP + at * 20 + 10, name)
  ]
}

function axisX (x: number, label: string): string {
  return `<line x1="${x}" y1="${TOP}" x2="${x}" y2="${HEIGHT - BOTTOM}" stroke="#d0d7de"/>` +
    text(x, HEIGHT - BOTTOM + 16, label, 'text-anchor="middle"')
}

function axisY (y: number, label: string): string {
  return `<line x1="${LEFT}" y1="${y}" x2="${WIDTH - RIGHT}" y2="${y}" stroke="#d0d7de"/>` +
    text(LEFT - 6, y + 4, label, 'text-anchor="end"')
}

function text (x: number, y: number, content: string, attributes = ''): string {
  const escaped = content.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
  return `<text x="${x}" y="${y}" fill="#24292f" ${attributes}>${escaped}</text>`
}

function logScale (values: readonly number[], from: number, to: number): Scale {
  const low = Math.log10(Math.min(...values))
  const high = Math.log10(Math.max(...values))
  const span = high - low || 1
  return value => from + (Math.log10(value) - low) / span * (to - from)
}

/** 1, 2 and 5 times each power of ten within the range; both ends of the range if there are fewer than two of them. */
function ticks (values: readonly number[]): number[] {
  const low = Math.min(...values)
  const high = Math.max(...values)
  const all: number[] = []
  for (let power = Math.floor(Math.log10(low)); 10 ** power <= high; power++) {
    for (const step of high / low > 1_000 ? [1] : [1, 2, 5]) all.push(step * 10 ** power)
  }
  const within = all.filter(value => value >= low && value <= high)
  return within.length > 1 ? within : [low, high]
}

function shown (value: number): string {
  if (value >= 1_000) return `${Number((value / 1_000).toPrecision(3))}k`
  return String(Number(value.toPrecision(2)))
}
