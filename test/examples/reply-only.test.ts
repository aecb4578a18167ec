import t from 'tap'
import { openBrowser, openPage } from '../support/browser/browser.ts'
import { Example } from '../support/documents/example.ts'
import { TcpProxy } from '../support/network/tcp-proxy.ts'

const browser = await openBrowser(t)

t.test('the clock ticks, and the primes are complete after a cut; then EventSource stops', async t => {
  const example = await Example.start(t, 'reply-only')
  const proxy = await TcpProxy.start(t, example.port)
  const page = await openPage(t, browser)
  await page.goto(`http://127.0.0.1:${proxy.port}`)
  await page.locator('#clock').filter({ hasText: ':' }).waitFor()
  await page.locator('#primes').filter({ hasText: '2 3 5 7 11' }).waitFor()
  proxy.cut()
  await page.waitForSelector('#state[data-state="waiting"]')
  await page.waitForSelector('#state[data-state="open"]')
  await page.waitForSelector('#state[data-state="closed"]')
  const isPrime = (n: number): boolean => n > 1 && !Array.from({ length: n }).some((_, d) => d > 1 && n % d === 0)
  const expected = Array.from({ length: 1_000 }, (_, n) => n).filter(isPrime)
  t.equal(await page.locator('#primes').textContent(), `${expected.join(' ')} `)
})
