import t from 'tap'
import type { Test } from 'tap'
import type { Page } from 'playwright-core'
import { openBrowser, openPage } from '../support/browser.ts'
import { TestService } from '../support/service-app.ts'

const browser = await openBrowser(t)

/** The console of a service, in a page that reports what goes wrong in it. */
async function openConsole (t: Test, service: TestService): Promise<Page> {
  const page = await openPage(t, browser)
  page.on('pageerror', error => t.fail(error.message))
  page.on('console', message => { if (message.type() === 'error' && !message.text().includes('status of')) t.fail(message.text()) })
  await page.goto(`${service.origin}/console`)
  return page
}

const rows = (page: Page): Promise<string[][]> => page.locator('#rows tr').evaluateAll(rows => rows.map(row => [...row.querySelectorAll('td')].slice(1).map(cell => cell.textContent ?? '')))
const untilState = (page: Page, state: string): Promise<void> => page.locator(`#state[data-state=${state}]`).waitFor()
const untilCount = (page: Page, what: string, count: number): Promise<void> => page.locator(`#${what}`, { hasText: new RegExp(`^${count}$`) }).waitFor()

t.test('what is published on the page is heard on it, and after a drop it goes on with its cursor', async t => {
  const service = await TestService.start(t)
  const page = await openConsole(t, service)
  await page.click('#connect')
  await untilState(page, 'open')
  await page.fill('#publish [name=event]', 'score')
  await page.fill('#publish [name=data]', '<b>1:0</b>\n')
  await page.click('#publish button')
  await untilCount(page, 'events', 1)
  const [[id, event, data]] = await rows(page) as [[string, string, string]]
  t.same([event, data], ['score', '<b>1:0</b>\n'], 'text, not markup')
  t.equal(await page.textContent('#cursor'), id)
  t.match(await page.textContent('#published'), `201 {"id":"${id}"}`)
  await page.click('#drop')
  await untilState(page, 'waiting')
  await service.publish('news', { data: 'meanwhile' })
  await untilCount(page, 'events', 2)
  t.equal(await page.textContent('#connects'), '2')
  t.same((await rows(page)).map(([, event, data]) => [event, data]).reverse(), [['stream.open', ''], ['score', '<b>1:0</b>\n'], ['stream.open', ''], ['message', 'meanwhile']])
})

t.test('gaps are counted, a finished topic closes, and a refusal is shown', async t => {
  const service = await TestService.start(t, { MAX_EVENTS: '1' })
  await service.publish('news', [{ data: '1' }, { data: '2' }])
  const page = await openConsole(t, service)
  await page.selectOption('#listen [name=begin]', 'lastEventId=0-0')
  await page.click('#connect')
  await untilCount(page, 'gaps', 1)
  await untilCount(page, 'events', 1)
  await service.call('/topics/news/close', { method: 'POST' })
  await untilState(page, 'closed')
  t.match(await page.textContent('#state'), '204')
  await page.fill('#listen [name=topics]', '*')
  await page.click('#connect')
  await page.locator('#state', { hasText: '400' }).waitFor()
  t.match((await rows(page))[0], ['', '400', /TOPICS_BAD_TOPIC/])
})

t.test('the page may run its own scripts only, and can be left out', async t => {
  const service = await TestService.start(t)
  const page = await service.call('/console')
  t.match(page.headers.get('content-security-policy'), /default-src 'none'; script-src 'self'/)
  const without = await TestService.start(t, { CONSOLE: 'no' })
  t.equal((await without.call('/console')).status, 404)
})
