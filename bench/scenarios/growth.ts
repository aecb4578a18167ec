import type { Chart, Scenario } from '../scenario.ts'
import { median } from '../scenario.ts'
import type { Delivery, Stage } from '../stage.ts'

const SIDES = ['floor', 'ours'] as const
type Side = typeof SIDES[number]
type Point = (side: Side, x: number) => Promise<Delivery>

/** Number of deliveries at each point: enough for about a second. */
const DELIVERIES = 100_000
const SMALL = 100

/** How the cost of a delivery grows. */
export const growth: Scenario = {
  name: 'growth',
  title: 'Growth',
  about: 'CPU per delivery where one thing varies. Events come ten in a request, eight requests under way at once.\n' +
    'The floor has no backlog to look up, so that its line shows what writing costs.',
  async run (stage) {
    const some = stage.pick(100, 5)
    const many = stage.pick(1_000, 10)
    const charts: Chart[] = []
    for (const one of [
      curve('clients', 'clients of one topic', stage.pick([10, 100, 1_000, 8_000], [5, 10]),
        (side, clients) => live(stage, side, { clients, topics: 1, size: SMALL })),
      curve('topics', 'topics, 1,000 clients on one each', stage.pick([1, 10, 100, 1_000], [1, 5]),
        (side, topics) => live(stage, side, { clients: many, topics, size: SMALL })),
      curve('size', 'bytes of an event, 100 clients', stage.pick([20, 200, 2_000, 20_000, 65_536], [20, 2_000]),
        (side, size) => live(stage, side, { clients: some, topics: 1, size })),
      curve('backlog', 'events missed by each of 100 clients', stage.pick([10, 100, 1_000, 10_000], [10, 50]),
        (side, missed) => backlog(stage, side, missed))
    ]) charts.push(await chart(stage, one))
    return { tables: charts.map(({ x, series }) => toTable(x, series)), charts }
  }
}

interface Curve { name: string, x: string, values: readonly number[], measure: Point }

function curve (name: string, x: string, values: readonly number[], measure: Point): Curve {
  return { name, x, values, measure }
}

async function chart (stage: Stage, { name, x, values, measure }: Curve): Promise<Chart> {
  const series: Record<Side, Array<[number, number]>> = { floor: [], ours: [] }
  for (const value of values) {
    const rounds = await stage.alternate(SIDES, side => measure(side, value), { rounds: 2 })
    for (const side of SIDES) series[side].push([value, median(rounds[side].map(one => one.microsPerDelivery))])
  }
  return { name: `growth-${name}`, title: `CPU per delivery by ${name}`, x, y: 'µs per delivery', series }
}

function toTable (x: string, series: Chart['series']) {
  const values = series.floor!.map(([value]) => value)
  return {
    columns: [x, ...values.map(String)],
    rows: Object.entries(series).map(([side, line]) => [`${side}, µs`, ...line.map(([, y]) => y)])
  }
}

interface Live { clients: number, topics: number, size: number }

/** Each client subscribes to one of the topics, and each topic gets its share of the events. */
async function live (stage: Stage, side: Side, { clients, topics, size }: Live): Promise<Delivery> {
  const contender = await stage.contender(side)
  const names = Array.from({ length: topics }, (_, at) => `growth-${at}`)
  await stage.connect(contender, { group: side, paths: names.map(name => `/events?topic=${name}`), clients })
  const each = Math.max(10, stage.pick(Math.round(DELIVERIES / clients), 10))
  const bounded = Math.ceil(Math.min(each, 20_000_000 / size / clients * topics, 2_000) / 10) * 10
  const delivery = await stage.deliver(contender, {
    group: side,
    clients,
    each: bounded,
    publish: {
      paths: names.map(name => `/publish?topic=${name}`), events: bounded * topics, batch: 10, inFlight: 8, size
    }
  })
  await stage.close(side)
  return delivery
}

let stores = 0

async function backlog (stage: Stage, side: Side, missed: number): Promise<Delivery> {
  const contender = await stage.contender(side)
  const topic = `backlog-${++stores}`
  const publish = async (events: number) =>
    stage.publish(contender, { paths: [`/publish?topic=${topic}&keep=1`], events, batch: 10, inFlight: 8, size: SMALL })
  const { lastId = '' } = await publish(1)
  await publish(side === 'floor' ? missed - 1 : missed)
  return stage.connectAll(contender, {
    group: topic,
    paths: [`/events?topic=${topic}`],
    clients: stage.pick(100, 5),
    headers: { 'last-event-id': lastId },
    expect: missed
  })
}
