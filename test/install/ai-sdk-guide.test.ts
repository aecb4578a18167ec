import t from 'tap'
import type { Page } from 'playwright-core'
import { openBrowser, openPage, untilTrue } from '../support/browser/browser.ts'
import { blocksOf, readDoc } from '../support/documents/markdown.ts'
import { startApp } from '../support/documents/installed-app.ts'
import { emptyFolder, pack, succeed, writeFiles } from '../support/documents/packages.ts'
import { stablePort } from '../support/network/ports.ts'

// Follows docs/guides/ai-sdk.md in an empty folder, as a new user would.

const GUIDE = 'docs/guides/ai-sdk.md'

const commands = (start: string): string[] => [...readDoc(GUIDE).matchAll(/^ {4}(np[mx] .*)$/gm)]
  .map(([, command]) => command!)
  .filter(command => command.startsWith(start))

const fileIn = (language: string): string => blocksOf(GUIDE).find(block => block.language === language)!.text

const hasNumbers = async (page: Page, count: number): Promise<unknown> =>
  await untilTrue(page, `document.querySelector('.assistant')?.textContent.trim().split(' ').length >= ${count}`)

/** True if the answer, which counts, has no missing or duplicate numbers. */
function isExact (text: string | null): boolean {
  const numbers = text!.trim().split(' ').map(Number)
  return numbers.every((n, at) => n === at + 1)
}

/**
 * The answer of a producer that died, after a reload. When all of it arrives together with the abort, the browser may
 * discard it and report only the error: then the page is loaded once more.
 */
async function incompleteAnswer (page: Page): Promise<string> {
  const answer = page.locator('.assistant')
  do {
    await page.reload()
    await page.getByRole('alert').waitFor()
  } while (await answer.count() === 0 || await answer.textContent() === '')
  return (await answer.textContent())!
}

t.test('from an empty folder to a chat that survives a reload, a second tab, a stop and kill -9', async t => {
  const folder = emptyFolder(t)
  const tarball = await pack(t, 'plugin')
  for (const command of commands('npm')) {
    await succeed(folder, 'bash', ['-c', command.replace('fastify-resumable-sse', tarball)])
  }
  const port = await stablePort()
  const origin = `http://127.0.0.1:${port}`
  writeFiles(folder, { 'server.js': fileIn('js').replace('port: 3000', `port: ${port}`), 'page.jsx': fileIn('jsx') })
  for (const command of commands('npx')) await succeed(folder, 'bash', ['-c', command])
  const kill = await startApp(t, { folder, file: 'server.js', origin })

  const browser = await openBrowser(t)
  const context = await browser.newContext()
  t.teardown(() => context.close())
  const ask = async (): Promise<Page> => {
    const page = await openPage(t, context)
    await page.goto(origin)
    await page.getByLabel('Question').fill('Count!')
    await page.getByRole('button', { name: 'Ask' }).click()
    await hasNumbers(page, 5)
    return page
  }

  const page = await ask()
  await page.reload()
  await hasNumbers(page, 10)
  const second = await openPage(t, context)
  await second.goto(page.url())
  await hasNumbers(second, 15)
  await second.getByRole('button', { name: 'Stop' }).click()
  for (const tab of [page, second]) await tab.getByText('ready').waitFor()
  const text = await page.locator('.assistant').textContent()
  t.ok(isExact(text))
  t.equal(await second.locator('.assistant').textContent(), text)

  const killed = await ask()
  await kill()
  await startApp(t, { folder, file: 'server.js', origin })
  t.ok(isExact(await incompleteAnswer(killed)))
})
