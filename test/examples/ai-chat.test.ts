import t from 'tap'
import type { BrowserContext, Page } from 'playwright-core'
import type { Test } from 'tap'
import { model } from '../../examples/ai-chat/model.ts'
import { openBrowser, openPage, untilTrue } from '../support/browser/browser.ts'
import { Example } from '../support/documents/example.ts'

const browser = await openBrowser(t)
/** The answer repeats the question, so it is not complete before it is stopped. */
const LONG_PROMPT = 'Why? '.repeat(300).trim()

async function newContext (t: Test): Promise<BrowserContext> {
  const context = await browser.newContext()
  t.teardown(() => context.close())
  return context
}

/** The page with a first question, whose answer has begun. */
async function ask (t: Test, context: BrowserContext, example: Example, prompt: string): Promise<Page> {
  const page = await openPage(t, context)
  await page.goto(example.origin)
  await page.getByLabel('Your question').fill(prompt)
  await page.getByRole('button', { name: 'Ask' }).click()
  await hasWords(page, 10)
  return page
}

const hasWords = async (page: Page, count: number): Promise<unknown> =>
  await untilTrue(page, `document.querySelector('.text')?.textContent.split(/\\s+/).length >= ${count}`)

const isIn = async (page: Page, state: string): Promise<unknown> =>
  await page.waitForSelector(`.state[data-state="${state}"]`)

const textOf = async (page: Page): Promise<string | null> => await page.locator('.text').textContent()

async function whole (prompt: string): Promise<string> {
  let text = ''
  for await (const token of model(prompt, new AbortController().signal)) text += token
  return text
}

t.test('an answer is complete and without duplicates after reloads in its middle, and in a second tab', async t => {
  const example = await Example.start(t, 'ai-chat')
  const context = await newContext(t)
  // The answer repeats the question, which is long so that the answer is not complete before the reloads.
  const prompt = 'What is it? '.repeat(120).trim()
  const expected = whole(prompt)
  const page = await ask(t, context, example, prompt)
  for (const count of [20, 40]) {
    t.equal(await page.locator('.state[data-state="open"]').count(), 1, 'in the middle')
    await page.reload()
    await hasWords(page, count)
  }
  const second = await openPage(t, context)
  await second.goto(example.origin)
  for (const tab of [page, second]) {
    await isIn(tab, 'done')
    t.equal(await textOf(tab), await expected)
    t.equal(await tab.locator('.question').textContent(), prompt)
  }
  await page.reload()
  await isIn(page, 'done')
  t.equal(await textOf(page), await expected, 'after the end too')
})

t.test('the stop button ends the answer for good', async t => {
  const example = await Example.start(t, 'ai-chat')
  const page = await ask(t, await newContext(t), example, LONG_PROMPT)
  await page.getByRole('button', { name: 'Stop' }).click()
  await isIn(page, 'stopped')
  const text = await textOf(page)
  await page.reload()
  await isIn(page, 'stopped')
  t.equal(await textOf(page), text)
})

t.test('kill -9 of the server: the page keeps what it has and shows that the answer is lost', async t => {
  const example = await Example.start(t, 'ai-chat')
  const page = await ask(t, await newContext(t), example, LONG_PROMPT)
  await example.kill()
  await example.start()
  await isIn(page, 'lost')
  t.ok((await whole(LONG_PROMPT)).startsWith((await textOf(page))!))
})
