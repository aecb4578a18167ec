import type { Browser, BrowserContextOptions, Page } from 'playwright-core'
import type { Test } from 'tap'
import { openPage } from './browser.ts'

/** The console in a real browser. Any error of its script and any violation of its policy fails the test. */
export class ConsolePage {
  readonly page: Page

  private constructor (page: Page) {
    this.page = page
  }

  /** Opens `/console#fragment` of a service. */
  static async open (
    t: Test, browser: Browser, { origin }: { origin: string }, fragment = '', options: BrowserContextOptions = {}
  ): Promise<ConsolePage> {
    const page = await openPage(t, browser, options)
    page.on('pageerror', error => t.fail(error.message))
    // Chromium reports error responses and refused connections, which some tests cause on purpose.
    page.on('console', message => {
      if (message.type() === 'error' && !/status of|net::ERR_/.test(message.text())) t.fail(message.text())
    })
    await page.goto(`${origin}/console${fragment === '' ? '' : `#${fragment}`}`)
    return new ConsolePage(page)
  }

  async subscribe (topics: string): Promise<void> {
    await this.page.fill('#listen [name=topics]', topics)
    await this.page.click('#listen button.primary')
    await this.untilState('open')
  }

  async untilState (state: string): Promise<void> {
    await this.page.locator(`#state[data-state=${state}]`).waitFor()
  }

  /** Waits for an event whose data contains this. Notices do not count. */
  async untilRow (data: string): Promise<void> {
    await this.page.locator('#rows .event .data', { hasText: data }).first().waitFor()
  }

  /** The texts of a column, newest first; without notices. */
  async column (name: 'topic' | 'id' | 'name' | 'data', rows = '.event'): Promise<string[]> {
    return await this.page.locator(`#rows ${rows} .${name}`).allTextContents()
  }

  async untilText (selector: string, text: string | RegExp): Promise<void> {
    await this.page.locator(selector, { hasText: text }).waitFor()
  }

  async text (selector: string): Promise<string> {
    return await this.page.textContent(selector) ?? ''
  }
}
