import t from 'tap'
import { openBrowser, openPage } from '../support/browser/browser.ts'
import { Example } from '../support/documents/example.ts'

const browser = await openBrowser(t)

t.test('a customer sees each of their orders once, over kill -9, and the token of the stream is useless to others', async t => {
  const example = await Example.start(t, 'one-time-token', { COOKIE_SECRET: 'of this test, the same after a restart' })
  const page = await openPage(t, browser)
  const tokens: URL[] = []
  page.on('request', request => { if (request.url().includes('ot=')) tokens.push(new URL(request.url())) })
  const order = async (customer: string, product: string): Promise<void> => {
    await page.getByLabel('For').fill(customer)
    await page.getByLabel('Product').fill(product)
    await page.getByRole('button', { name: 'Order' }).click()
    await page.locator('#order [name=product]:placeholder-shown').waitFor()
  }
  await page.goto(example.origin)
  await page.getByLabel('Your name').fill('alice')
  await page.getByRole('button', { name: 'Sign in' }).click()
  await page.waitForSelector('#state[data-state="open"]')
  await order('alice', 'tea')
  await order('bob', 'coffee')
  await page.getByText('tea, ordered by alice').waitFor()

  t.equal((await fetch(tokens.at(-1)!)).status, 401)
  await example.kill()
  await page.waitForSelector('#state[data-state="waiting"], #state[data-state="connecting"]')
  await example.start()
  await page.waitForSelector('#state[data-state="open"]')
  await order('alice', 'milk')
  await page.getByText('milk').waitFor()
  t.same(await page.locator('#orders li').allTextContents(), ['tea, ordered by alice', 'milk, ordered by alice'])
})
