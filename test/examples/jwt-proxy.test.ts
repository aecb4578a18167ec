import t from 'tap'
import { openBrowser, openPage } from '../support/browser/browser.ts'
import { launchExample } from '../support/documents/launched-example.ts'

const browser = await openBrowser(t)

t.test('the proxy turns the cookie into a bearer token, for pages of this site only', async t => {
  const { origin, port } = await launchExample(t, 'jwt-proxy', 1)
  const page = await openPage(t, browser)
  await page.goto(origin)
  await page.waitForSelector('#state[data-state="closed"]')
  await page.getByLabel('Your name').fill('alice')
  await page.getByRole('button', { name: 'Sign in' }).click()
  await page.waitForSelector('#state[data-state="open"]')
  for (const text of ['first', 'second']) {
    await page.locator('#note [name=text]').fill(text)
    await page.getByRole('button', { name: 'Save' }).click()
    await page.getByText(text).waitFor()
  }
  await page.reload()
  await page.getByText('second').waitFor()
  t.same(await page.locator('#notes li').allTextContents(), ['first', 'second'])
  t.equal(await page.evaluate('document.cookie'), '', 'no script can read the token')

  const [{ value } = { value: '' }] = await page.context().cookies()
  const status = async (headers: Record<string, string>, at = origin): Promise<number> => {
    const response = await fetch(`${at}/api/events`, { headers })
    await response.body?.cancel()
    return response.status
  }
  const cookie = `token=${value}`
  t.equal(await status({}), 401)
  t.equal(await status({ cookie }), 200)
  t.equal(await status({ cookie, 'sec-fetch-site': 'cross-site' }), 403)
  t.equal(await status({ authorization: `Bearer ${value}` }), 200, 'a program sends its own header')
  t.equal(await status({ cookie }, `http://127.0.0.1:${port + 1}`), 401, 'the app itself does not read cookies')
})
