import t from 'tap'
import type { Page } from 'playwright-core'
import { openBrowser, openPage, untilTrue } from '../support/browser/browser.ts'
import { Example } from '../support/documents/example.ts'

const browser = await openBrowser(t)

/** The ids of the values in the charts, and the number of points in each line. */
async function chartsOf (page: Page): Promise<{ numbers: number[], points: number }[]> {
  const sections = await page.locator('[data-topic]').all()
  return await Promise.all(sections.map(async section => ({
    numbers: ((await section.getAttribute('data-ids')) ?? '').split(' ').map(id => Number(id.split('-')[1])),
    points: (await section.locator('polyline').getAttribute('points') ?? '').split(' ').length
  })))
}

async function untilValues (page: Page, count: number): Promise<void> {
  const sections = "[...document.querySelectorAll('[data-topic]')]"
  await untilTrue(page, `${sections}.every(({ dataset }) => dataset.ids?.split(' ').length >= ${count})`)
}

t.test('the charts show each value once, over kill -9 of the server and after a reload', async t => {
  const example = await Example.start(t, 'dashboard')
  const page = await openPage(t, browser)
  await page.goto(example.origin)
  for (let kills = 1; kills <= 2; kills++) {
    await untilValues(page, kills * 3)
    await example.kill()
    await page.waitForSelector('#state[data-state="waiting"]')
    await example.start()
    await page.waitForSelector('#state[data-state="open"]')
  }
  await untilValues(page, 9)
  for (const { numbers, points } of await chartsOf(page)) {
    // The numbers of a topic are consecutive, so nothing was lost or repeated.
    t.same(numbers, numbers.map((_, at) => numbers[0]! + at))
    t.equal(points, numbers.length)
  }
  await page.reload()
  await untilValues(page, 9)
  for (const { numbers } of await chartsOf(page)) {
    t.same(numbers, numbers.map((_, at) => numbers[0]! + at), 'after the reload')
  }
  t.match(await page.locator('output').allTextContents(), [/^\d+\.\d $/, /^\d+\.\d MB$/, /^\d+\.\d ms$/])
})
