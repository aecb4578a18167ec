import t from 'tap'
import type { Page } from 'playwright-core'
import { openBrowser, openPage, untilTrue } from '../support/browser/browser.ts'
import { Example } from '../support/documents/example.ts'

const browser = await openBrowser(t)

/** The lines of the page by match, oldest first. */
async function goalsOf (page: Page): Promise<Map<string, number[][]>> {
  const goals = new Map<string, number[][]>()
  for (const line of (await page.locator('#goals li').allTextContents()).reverse()) {
    const [, host = '', home, away] = /^(\w+) (\d+)–(\d+) \w+$/.exec(line) ?? []
    goals.set(host, [...goals.get(host) ?? [], [Number(home), Number(away)]])
  }
  return goals
}

async function untilGoals (page: Page, count: number): Promise<void> {
  await untilTrue(page, `document.querySelectorAll('#goals li').length >= ${count}`)
}

/** True if one goal was scored, or the match starts again. */
function isNext ([home, away]: number[], [nextHome, nextAway]: number[]): boolean {
  const before = home! + away! === 9 ? 0 : home! + away!
  const isUp = before === 0 || (nextHome! >= home! && nextAway! >= away!)
  return isUp && nextHome! + nextAway! === before + 1
}

t.test('a page shows each goal of each match once and in order, over kill -9 of the server', async t => {
  const example = await Example.start(t, 'live-scores')
  const page = await openPage(t, browser)
  await page.goto(example.origin)
  for (let kills = 1; kills <= 2; kills++) {
    await untilGoals(page, kills * 5)
    await example.kill()
    await page.waitForSelector('#state[data-state="waiting"]')
    await example.start()
    await page.waitForSelector('#state[data-state="open"]')
  }
  await untilGoals(page, 15)

  const goals = await goalsOf(page)
  t.same([...goals.keys()].sort(), ['Lions', 'North', 'Reds'])
  for (const [host, scores] of goals) {
    t.same(scores[0]!.reduce((sum, goals) => sum + goals), 1, `${host}: from the first`)
    for (const [at, score] of scores.slice(1).entries()) {
      t.ok(isNext(scores[at]!, score), `${host}: ${scores[at]!.join('–')}, then ${score.join('–')}`)
    }
  }
})
