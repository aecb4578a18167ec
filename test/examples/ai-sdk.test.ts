import t from 'tap'
import type { BrowserContext, Page } from 'playwright-core'
import type { Test } from 'tap'
import { model } from '../../examples/ai-chat/model.ts'
import { openBrowser, openPage, untilTrue } from '../support/browser/browser.ts'
import { launchExample } from '../support/documents/launched-example.ts'

const browser = await openBrowser(t)
/** The answer repeats the question, so it is not complete before it is stopped. */
const LONG_PROMPT = 'Why? '.repeat(300).trim()

async function newContext (t: Test): Promise<BrowserContext> {
  const context = await browser.newContext()
  t.teardown(() => context.close())
  return context
}

/** Asks a question on a page, and waits until the answer has begun. */
async function ask (page: Page, prompt: string): Promise<void> {
  const before = await page.locator('.assistant').count()
  await page.getByLabel('Your question').fill(prompt)
  await page.getByRole('button', { name: 'Ask' }).click()
  await page.locator('.assistant').nth(before).waitFor()
  await hasWords(page, 10)
}

const hasWords = async (page: Page, count: number): Promise<unknown> =>
  await untilTrue(
    page,
    `[...document.querySelectorAll('.assistant .text')].at(-1)?.textContent.split(/\\s+/).length >= ${count}`
  )

const isIn = async (page: Page, state: string): Promise<unknown> =>
  await page.waitForSelector(`#state[data-state="${state}"]`)

const textOf = async (page: Page): Promise<string | null> => await page.locator('.assistant .text').last().textContent()

/** The process that created the latest answer. */
async function pidOf (page: Page): Promise<number> {
  return Number(/process (\d+)/.exec(await page.locator('.assistant h2').last().innerText())?.[1])
}

async function whole (prompt: string): Promise<string> {
  let text = ''
  for await (const token of model(prompt, new AbortController().signal)) text += token
  return text
}

const { origin } = await launchExample(t, 'ai-sdk', 2)

t.test('an answer is complete and generated once after reloads in its middle, and in a second tab', async t => {
  const context = await newContext(t)
  const page = await openPage(t, context)
  await page.goto(origin)
  // The answer repeats the question, which is long so that the answer is not complete before the reloads.
  const prompt = 'What is it? '.repeat(120).trim()
  const expected = whole(prompt)
  await ask(page, prompt)
  const pid = await pidOf(page)
  for (const count of [20, 40]) {
    await page.reload()
    await hasWords(page, count)
    await isIn(page, 'streaming')
  }
  const second = await openPage(t, context)
  await second.goto(page.url())
  await hasWords(second, 40)
  await isIn(second, 'streaming')
  for (const tab of [page, second]) {
    await isIn(tab, 'open')
    t.equal(await textOf(tab), await expected)
    t.equal(await pidOf(tab), pid)
    t.equal(await tab.locator('.assistant').count(), 1)
  }
  await page.reload()
  await isIn(page, 'open')
  t.equal(await textOf(page), await expected, 'saved')
  t.equal(await page.locator('.assistant').count(), 1)
})

t.test('the stop button of one tab ends the answer in both tabs for good', async t => {
  const context = await newContext(t)
  const page = await openPage(t, context)
  await page.goto(origin)
  await ask(page, LONG_PROMPT)
  const second = await openPage(t, context)
  await second.goto(page.url())
  await hasWords(second, 12)
  await second.getByRole('button', { name: 'Stop' }).click()
  for (const tab of [page, second]) await isIn(tab, 'open')
  const text = (await textOf(page))!
  t.equal(await textOf(second), text)
  t.ok((await whole(LONG_PROMPT)).startsWith(text))
  await page.reload()
  await hasWords(page, 12)
  await isIn(page, 'open')
  t.equal(await textOf(page), text)
})

t.test('kill -9 of the process that generates the answer: the text so far stays, and the other process generates the next answer', async t => {
  const page = await openPage(t, await newContext(t))
  await page.goto(origin)
  await ask(page, LONG_PROMPT)
  const killed = await pidOf(page)
  process.kill(killed, 'SIGKILL')
  await page.getByRole('alert').filter({ hasText: 'The answer is incomplete' }).waitFor()
  await isIn(page, 'error')
  await hasWords(page, 10)
  t.ok((await whole(LONG_PROMPT)).startsWith((await textOf(page))!))
  await page.reload()
  await hasWords(page, 10)
  await page.getByRole('alert').waitFor()
  await ask(page, 'And now?')
  t.not(await pidOf(page), killed)
  await isIn(page, 'open')
  t.equal(await textOf(page), await whole('And now?'))
})
