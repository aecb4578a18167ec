import { existsSync } from 'node:fs'
import t from 'tap'
import { Example } from '../support/documents/example.ts'
import { FirefoxPage } from '../support/browser/firefox.ts'

const skip = !existsSync('/usr/bin/firefox-esr') && 'firefox-esr is not installed'
const stateIs = (state: string): string => `document.getElementById('state').dataset.state === '${state}'`

t.test('in Firefox the client receives each value of the charts once, over kill -9 of the server', { skip }, async t => {
  const example = await Example.start(t, 'dashboard')
  const page = await FirefoxPage.open(t, example.origin)
  const values = (count: number): string =>
    `[...document.querySelectorAll('[data-topic]')].every(({ dataset }) => dataset.ids?.split(' ').length >= ${count})`
  await page.until(values(3))
  await example.kill()
  await page.until(stateIs('waiting'))
  await example.start()
  await page.until(stateIs('open'))
  await page.until(values(6))
  const ids = await page.evaluate("document.querySelector('[data-topic]').dataset.ids")
  const numbers = ids.split(' ').map(id => Number(id.split('-')[1]))
  t.same(numbers, numbers.map((_, at) => numbers[0]! + at))
})

t.test('in Firefox a plain EventSource shows each goal once, over kill -9 of the server', { skip }, async t => {
  const example = await Example.start(t, 'live-scores')
  const page = await FirefoxPage.open(t, example.origin)
  const lines = "[...document.querySelectorAll('#goals li')].map(({ textContent }) => textContent)"
  await page.until(`${lines}.length >= 5`)
  await example.kill()
  await page.until(stateIs('waiting'))
  await example.start()
  await page.until(stateIs('open'))
  await page.until(`${lines}.length >= 10`)
  const goals = (await page.evaluate(`${lines}.reverse().join()`)).split(',')
  for (const host of ['Reds', 'Lions', 'North']) {
    const sums = goals.filter(line => line.startsWith(host))
      .map(line => (line.match(/\d+/g) ?? []).reduce((sum, n) => sum + Number(n), 0))
    // From 1 to 9, repeatedly.
    t.same(sums, sums.map((_, at) => (sums[0]! - 1 + at) % 9 + 1), host)
  }
})
