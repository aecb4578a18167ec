import t from 'tap'
import type { Page } from 'playwright-core'
import { openBrowser, openPage, untilTrue } from '../support/browser/browser.ts'
import { launchExample } from '../support/documents/launched-example.ts'

const browser = await openBrowser(t)

/** The instance that serves the page's stream, and its process. */
async function instanceOf (page: Page): Promise<{ instance: string, pid: number }> {
  await page.locator('#pid').filter({ hasText: /\d/ }).waitFor()
  const [instance, pid] = await Promise.all(['#instance', '#pid'].map(async id => await page.locator(id).textContent()))
  return { instance: instance!, pid: Number(pid) }
}

t.test('kill -9 of the instance that serves a page: the page continues with the other one, and shows each message once', async t => {
  const { origin } = await launchExample(t, 'two-instances', 2)
  const page = await openPage(t, browser)
  const send = async (text: string): Promise<number> => {
    const headers = { 'content-type': 'application/json' }
    return (await fetch(`${origin}/messages`, { method: 'POST', headers, body: JSON.stringify({ text }) })).status
  }
  await page.goto(origin)
  const { instance, pid } = await instanceOf(page)
  await page.getByLabel('Message').fill('one')
  await page.getByRole('button', { name: 'Send' }).click()
  await page.getByText('one (published').waitFor()

  process.kill(pid, 'SIGKILL')
  await page.waitForSelector('#state[data-state="waiting"]')
  // Published while no client is connected. nginx does not repeat a POST, so the first attempt may reach the dead
  // instance.
  while (await send('two') !== 201);
  await untilTrue(page, `document.getElementById('instance').textContent !== '${instance}'`)
  t.equal(await send('three'), 201)
  await page.getByText('three (published').waitFor()
  const lines = await page.locator('#messages li').allTextContents()
  t.same(lines.map(line => line.split(' ')[0]), ['one', 'two', 'three'])
})
