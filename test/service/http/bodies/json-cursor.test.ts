import t from 'tap'
import { JsonCursor } from '../../../../service/http/bodies/json-cursor.ts'
import { Random } from '../../../support/model/random.ts'

/** The texts of the `data` values, one for each element, or one for the value itself. */
function dataIn (text: string): (string | undefined)[] {
  const cursor = new JsonCursor(text)
  const found: (string | undefined)[] = []
  cursor.forEachValue(() => {
    const span = cursor.valueOf('data')
    found.push(span && text.slice(span.from, span.to))
  })
  return found
}

t.test('the text of a value is found wherever it is, and of several values the last one', async t => {
  for (const [text, ...found] of [
    ['{"data":1}', '1'], ['{"data":1.10}', '1.10'], ['{"data":-0}', '-0'], ['{"data":1e400,"event":"x"}', '1e400'], [
      '{"data":true}', 'true'
    ], ['\ufeff{"data":null}', 'null'],
    ['{"data":""}', '""'], ['{"data":"\\\\"}', '"\\\\"'], ['{"data":"\\"\\\\\\"","x":"}"}', '"\\"\\\\\\""'], [
      '{"data":{}}', '{}'
    ], ['{"data":[]}', '[]'],
    ['{ "a" : { "data" : 1 } , "data" : [ { "data" : "]}" } ] }', '[ { "data" : "]}" } ]'], [
      '{"data":1,"data":{"a":2}}', '{"a":2}'
    ], ['{"d\\u0061ta":7}', '7'],
    ['\n[\t]', ...[]], [
      '[{"data":1},2,"x",[{"data":3}],{},{"data":\r\n4\r\n}]', '1', undefined, undefined, undefined, undefined, '4'
    ], ['{}', undefined], ['5', undefined], ['"data"', undefined]
  ] as [string, ...(string | undefined)[]][]) {
    JSON.parse(text.replace('\ufeff', ''))
    t.same(dataIn(text), found, text)
  }
})

t.test('it reports how deeply a value is nested', async t => {
  for (const [text, depth] of [
    ['{"data":5}', 0],
    ['{"data":"[[["}', 0],
    ['{"data":[]}', 1],
    ['{"data":[[1],{"a":{}}]}', 3],
    [`{"data":${'['.repeat(50_000)}${']'.repeat(50_000)}}`, 50_000]
  ] as const) {
    t.equal(new JsonCursor(text).valueOf('data')?.depth, depth, text.slice(0, 30))
  }
})

/** Random JSON, with spaces, escapes, and strings that contain structural characters. */
function randomJson (random: Random, depth: number): string {
  const space = (): string => random.pick(['', '', ' ', '\n', '\t\r\n'])
  const list = (make: () => string): string => Array.from({ length: random.integer(0, 3) }, make).join(',')
  const text = (): string =>
    JSON.stringify(random.pick(['', 'data', '"', '\\', '\\"', '{', ']', 'a,b:c', 'ü🙂\u2028', '\n']))
  const kind = depth > 4 ? random.integer(0, 2) : random.integer(0, 4)
  const value = [text, () => random.pick(['0', '-1.5e+10', '12345678901234567890', '1E400']), () => random.pick([
    'true', 'false', 'null'
  ]),
  () => `[${list(() => randomJson(random, depth + 1))}]`, () =>
      `{${list(() => `${space()}${text()}${space()}:${randomJson(random, depth + 1)}`)}}`][kind]!()
  return space() + value + space()
}

t.test('in random JSON it finds what JSON.parse finds', async t => {
  const random = new Random(7)
  let found = 0
  for (let round = 0; round < 3_000; round++) {
    const text = `[${randomJson(random, 0)},{"x":${randomJson(random, 0)},"data":${randomJson(random, 0)}}]`
    const parsed = JSON.parse(text) as ({ data?: unknown } | null)[]
    for (const [at, raw] of dataIn(text).entries()) {
      const isObject = typeof parsed[at] === 'object' && parsed[at] !== null && !Array.isArray(parsed[at])
      const data = isObject && Object.hasOwn(parsed[at]!, 'data') ? parsed[at]!.data : undefined
      if (raw !== undefined) found++
      if (JSON.stringify(raw === undefined ? undefined : JSON.parse(raw)) !== JSON.stringify(data)) {
        t.fail(`${at} in ${text}`)
      }
    }
  }
  t.ok(found >= 3_000)
})

// Work that grows faster than the input would block the event loop for everybody: each shape is tested at two sizes.
t.test('the work is linear in the length of the text', async t => {
  const shapes: Record<string, (count: number) => string> = {
    backslashes: count => `{"data":"${'\\\\'.repeat(count)}"}`,
    quotes: count => `{"data":"${'\\"'.repeat(count)}"}`,
    nesting: count => `{"data":${'['.repeat(count)}${']'.repeat(count)}}`,
    keys: count => `{${'"data":1,'.repeat(count)}"x":1}`,
    elements: count => `[${'{"data":[1]},'.repeat(count)}1]`,
    spaces: count => `{${' '.repeat(count)}"data"${'\n'.repeat(count)}:${' '.repeat(count)}1}`
  }
  for (const [name, shape] of Object.entries(shapes)) {
    const [small, large] = [shape(20_000), shape(160_000)]
    t.ok(cpuOf(() => dataIn(large)) < 40 * cpuOf(() => dataIn(small)) + 2_000, name)
  }
})

/** CPU time in microseconds, the minimum of several rounds. */
function cpuOf (work: () => unknown): number {
  return Math.min(...Array.from({ length: 5 }, () => {
    const before = process.cpuUsage()
    work()
    const { user, system } = process.cpuUsage(before)
    return user + system
  }))
}
