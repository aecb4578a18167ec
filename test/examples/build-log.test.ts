import t from 'tap'
import { openBrowser, openPage, untilTrue } from '../support/browser/browser.ts'
import { Example } from '../support/documents/example.ts'
import { exec } from '../support/documents/packages.ts'
import { ROOT } from '../support/documents/markdown.ts'
import { TcpProxy } from '../support/network/tcp-proxy.ts'

const browser = await openBrowser(t)

t.test('the log is complete after cuts, for clients that follow it and for those that connect after its end', async t => {
  const example = await Example.start(t, 'build-log')
  const proxy = await TcpProxy.start(t, example.port)
  const page = await openPage(t, browser)
  await page.goto(`http://127.0.0.1:${proxy.port}`)
  await page.getByRole('button', { name: 'Start a build' }).click()
  for (const lines of [3, 20]) {
    await untilTrue(page, `document.querySelector('#log').textContent.split('\\n').length > ${lines}`)
    await page.waitForSelector('#state[data-state="open"]')
    proxy.cut()
    await page.waitForSelector('#state[data-state="waiting"]')
  }
  const late = await openPage(t, browser)
  await page.getByText('passed').waitFor()
  await late.goto(page.url())
  await late.getByText('passed').waitFor()

  const { out } = await exec(ROOT, process.execPath, ['dist/examples/build-log/program.js'])
  const expected = `build ${new URL(page.url()).hash.slice(1)}\n${out}`
  for (const each of [page, late]) t.equal(await each.locator('#log').textContent(), expected)
})

t.test('a build whose server was killed ends for its readers', async t => {
  const example = await Example.start(t, 'build-log')
  const page = await openPage(t, browser)
  await page.goto(example.origin)
  await page.getByRole('button', { name: 'Start a build' }).click()
  await page.getByText('> compile').waitFor()
  await example.kill()
  await example.start()
  await page.getByText('aborted').waitFor()
  t.match(await page.locator('#log').textContent(), /^build \S+\n> compile\n/)
})

t.test('a build that does not exist is reported', async t => {
  const example = await Example.start(t, 'build-log')
  const page = await openPage(t, browser)
  await page.goto(`${example.origin}/#${crypto.randomUUID()}`)
  await page.waitForSelector('#state[data-state="closed"]')
  t.match(await page.locator('#state').textContent(), '404')
})
