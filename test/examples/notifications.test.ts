import t from 'tap'
import type { BrowserContext, Page } from 'playwright-core'
import type { Test } from 'tap'
import { openBrowser, openPage, untilTrue } from '../support/browser/browser.ts'
import { Example } from '../support/documents/example.ts'

const browser = await openBrowser(t)

/** A separate browser, with a first tab in which a user has signed in. */
async function signIn (t: Test, example: Example, name: string): Promise<{ context: BrowserContext, tab: Page }> {
  const context = await browser.newContext()
  t.teardown(() => context.close())
  const tab = await openPage(t, context)
  await tab.goto(example.origin)
  await tab.getByLabel('Your name').fill(name)
  await tab.getByRole('button', { name: 'Sign in' }).click()
  await isOpen(tab)
  return { context, tab }
}

const isOpen = async (tab: Page): Promise<unknown> => await tab.waitForSelector('#state[data-state="open"]')

async function notify (from: Page, to: string, text: string): Promise<void> {
  await from.getByLabel('To').fill(to)
  await from.getByLabel('Text').fill(text)
  await from.getByRole('button', { name: 'Notify' }).click()
  await untilTrue(from, "document.querySelector('[name=text]').value === ''")
}

/** Waits for the latest line, and returns all, oldest first. */
async function linesOf (tab: Page, last: string): Promise<string[]> {
  await tab.getByText(last, { exact: true }).waitFor()
  return (await tab.locator('#list li').allTextContents()).reverse()
}

async function streams (tab: Page): Promise<number> {
  return await tab.evaluate(
    "fetch('/streams').then(response => response.json()).then(({ streams }) => streams)"
  ) as number
}

t.test('twelve tabs share one connection, and each shows the notifications of its user, over closed tabs and kill -9', async t => {
  const example = await Example.start(t, 'notifications', { COOKIE_SECRET: 'of this test, the same after a restart' })
  const { context, tab: first } = await signIn(t, example, 'alice')
  const { tab: bob } = await signIn(t, example, 'bob')
  const tabs = [first]
  while (tabs.length < 12) {
    const tab = await openPage(t, context)
    await tab.goto(example.origin)
    await isOpen(tab)
    tabs.push(tab)
  }
  t.equal(await streams(bob), 2, 'one for the tabs of alice, and one for bob')

  await notify(bob, 'alice', 'one')
  for (const tab of tabs) t.same(await linesOf(tab, 'bob one'), ['bob one'])
  // The first tab has the connection of all tabs.
  await tabs.shift()!.close()
  await notify(bob, 'alice', 'two')
  await notify(tabs[0]!, 'bob', 'for bob')
  for (const tab of tabs) t.same(await linesOf(tab, 'bob two'), ['bob one', 'bob two'])
  t.equal(await streams(bob), 2)

  await example.kill()
  await example.start()
  await isOpen(bob)
  await notify(bob, 'alice', 'three')
  for (const tab of tabs) t.same(await linesOf(tab, 'bob three'), ['bob one', 'bob two', 'bob three'])
  t.same(await linesOf(bob, 'alice for bob'), ['alice for bob'])
  const late = await openPage(t, context)
  await late.goto(example.origin)
  t.same(await linesOf(late, 'bob three'), ['bob one', 'bob two', 'bob three'], 'a new tab shows the latest notifications')
})

t.test('a user that signs out is signed out in all tabs', async t => {
  const example = await Example.start(t, 'notifications')
  const { context, tab } = await signIn(t, example, 'alice')
  const other = await openPage(t, context)
  await other.goto(example.origin)
  await isOpen(other)
  await other.getByRole('button', { name: 'Sign out' }).click()
  for (const each of [tab, other]) await each.getByLabel('Your name').waitFor()
  t.equal(await streams(tab), 0)
})

t.test('no user can read the notifications of another', async t => {
  const example = await Example.start(t, 'notifications')
  const { tab } = await signIn(t, example, 'alice')
  const status = async (path: string): Promise<unknown> =>
    await tab.evaluate(`fetch('${path}').then(({ status }) => status)`)
  t.equal(await status('/events?topic=users/bob'), 403)
  t.equal((await fetch(`${example.origin}/notifications`)).status, 401)
})
