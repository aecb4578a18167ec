import t from 'tap'
import type { Page } from 'playwright-core'
import { openBrowser, openPage } from '../support/browser/browser.ts'
import { ConsolePage } from '../support/browser/console.ts'
import { TestService } from '../support/service/service-app.ts'

// The page as a page: keyboard, narrow screens, many events, and malicious text.

const browser = await openBrowser(t)

const PHONE = { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true }

t.test('every function of the console can be used with the keyboard', async t => {
  const service = await TestService.start(t)
  const console = await ConsolePage.open(t, browser, service)
  const { page } = console
  const { keyboard } = page
  await tabTo(page, 'topics')
  await keyboard.type('news')
  await keyboard.press('Enter')
  await console.untilState('open')
  await tabTo(page, 'topic')
  t.equal(await page.inputValue('#publish [name=topic]'), '')
  await keyboard.type('news')
  await tabTo(page, 'data')
  for (const text of ['first', 'second']) {
    await keyboard.press('Control+A')
    await keyboard.type(text)
    await keyboard.press('Control+Enter')
    await console.untilRow(text)
  }
  await tabTo(page, 'rows')
  await keyboard.press('ArrowDown')
  await keyboard.press('ArrowDown')
  t.equal(await console.text('#rows [aria-selected=true] .data'), 'first')
  const active = await page.getAttribute('#rows', 'aria-activedescendant')
  t.equal(active, await page.getAttribute('#rows [aria-selected=true]', 'id'))
  await keyboard.press('Enter')
  t.equal(await focused(page), 'inspector-title')
  t.equal(await console.text('#inspected-data'), 'first')
  await keyboard.press('Escape')
  t.equal(await focused(page), 'rows', 'the focus is back in the list')
  const open = 'continues after 0-0'
  const moves = { Home: 'second', End: open, PageUp: 'second', PageDown: open, ArrowUp: 'first' }
  for (const [key, data] of Object.entries(moves)) {
    await keyboard.press(key)
    t.equal(await console.text('#rows [aria-selected=true] .data'), data, key)
  }
})

/**
 * Presses Tab until a field with this name or id has the focus, as a user would, but no more often than the page has
 * fields.
 */
async function tabTo (page: Page, name: string): Promise<void> {
  for (let presses = 0; presses < 60; presses++) {
    await page.keyboard.press('Tab')
    if (await focused(page) === name) return
  }
  throw new Error(`Tab never leads to ${name}`)
}

const focused = (page: Page): Promise<string> =>
  page.evaluate("document.activeElement.getAttribute('name') || document.activeElement.id")

t.test('every control has a name, and every id of the page is unique', async t => {
  const service = await TestService.start(t)
  const { page } = await ConsolePage.open(t, browser, service)
  const nameless = await page.evaluate(`[...document.querySelectorAll('button, input, select, textarea, [role=listbox]')]
    .filter(each => !each.getAttribute('aria-label') && !each.closest('label')?.textContent.trim())
    .filter(each => !each.textContent.trim())
    .map(each => each.outerHTML)`)
  t.same(nameless, [])
  const ids = await page.evaluate("[...document.querySelectorAll('[id]')].map(({ id }) => id)") as string[]
  t.same(ids.filter((id, at) => ids.indexOf(id) !== at), [])
})

// Regression: on a screen of 360 px the data column was 0 px wide, with one letter per line.
for (const colorScheme of ['light', 'dark'] as const) {
  t.test(`on a phone no element has zero width and none is wider than the screen, ${colorScheme}`, async t => {
    const service = await TestService.start(t)
    const topic = `build/${'long-name-'.repeat(8)}1`
    const named = { event: 'x'.repeat(80), data: 'y'.repeat(2_000) }
    await service.publish(topic, [named, { data: { a: 'word '.repeat(100) } }, { data: 'z' }])
    const options = { ...PHONE, colorScheme }
    const console = await ConsolePage.open(t, browser, service, `topic=${topic}&topic=news&start=last`, options)
    const { page } = console
    await console.untilRow('yyy')
    await page.locator('#rows .event').first().click()
    await page.locator('#topics li').first().waitFor()
    await page.locator('#streams tr').first().waitFor()
    t.same(await page.evaluate(SQUEEZED), [], 'elements with text, and controls, without width')
    t.equal(await page.evaluate('document.documentElement.scrollWidth'), 360)
    for (const cell of ['topic', 'id', 'name', 'data']) {
      t.ok((await page.locator(`#rows .event .${cell}`).first().boundingBox())!.width > 20, cell)
    }
    t.same(await page.evaluate(POOR_CONTRASTS), [], 'texts with poor contrast')
  })
}

const SQUEEZED = `[...document.querySelectorAll('body *')]
  .filter(each => each.checkVisibility() && !each.matches('select *'))
  .filter(each => each.matches('button, input, select, textarea') || each.textContent.trim() !== '')
  .filter(each => each.getBoundingClientRect().width < 1)
  .map(each => each.outerHTML.slice(0, 100))`

/** Texts whose contrast with their background is below 4.5, the AA level of WCAG 2. */
const POOR_CONTRASTS = `(() => {
  const channels = color => color.match(/[\\d.]+/g).map(Number)
  const luminance = color => channels(color).slice(0, 3).map(each => each / 255)
    .map(each => each <= 0.03928 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4)
    .reduce((sum, each, at) => sum + each * [0.2126, 0.7152, 0.0722][at], 0)
  const groundOf = node => {
    for (let each = node; each; each = each.parentElement) {
      const { backgroundColor } = getComputedStyle(each)
      if (channels(backgroundColor)[3] !== 0) return backgroundColor
    }
    return 'rgb(255, 255, 255)'
  }
  return [...document.querySelectorAll('body *')]
    .filter(each => each.checkVisibility() && !each.disabled)
    .filter(each => [...each.childNodes].some(({ nodeType, data }) => nodeType === 3 && data.trim() !== ''))
    .flatMap(each => {
      const [a, b] = [getComputedStyle(each).color, groundOf(each)].map(luminance).sort((a, b) => b - a)
      const contrast = (a + 0.05) / (b + 0.05)
      return contrast < 4.5 ? [contrast.toFixed(1) + ' ' + each.outerHTML.slice(0, 100)] : []
    })
})()`

t.test('of many events the newest are kept and shown, and the page remains responsive', async t => {
  const service = await TestService.start(t)
  const console = await ConsolePage.open(t, browser, service, 'topic=news')
  await console.untilState('open')
  for (let batch = 0; batch < 5; batch++) {
    const events = Array.from({ length: 1_000 }, (_, at) => ({ data: `event ${batch * 1_000 + at}` }))
    await service.publish('news', events)
  }
  await console.untilRow('event 4999')
  await console.untilText('#event-count', '5,000')
  t.equal(await console.page.locator('#rows .row').count(), 500)
  t.equal(await console.text('#shown'), '500 of 2,000 shown')
  await console.page.fill('#filter', 'event 3000')
  await console.untilText('#shown', '1 of 2,000 shown')
  await console.page.fill('#filter', 'data:2999')
  await console.untilText('#no-rows', 'No event matches the filter.')
})

// eslint-disable-next-line no-template-curly-in-string -- it is an attack
const ATTACK = '<img src=x onerror="window.attacked = true"><script>window.attacked = true</script>\'"`${window.attacked = true}'

t.test('text from publishers and links is shown as text, and never violates the content security policy', async t => {
  const service = await TestService.start(t)
  const topic = ATTACK.replaceAll(/\s/g, '_')
  const fragment = new URLSearchParams({ topic, filter: ATTACK, search: '<img', cursor: ATTACK, start: ATTACK })
  const console = await ConsolePage.open(t, browser, service, 'topic=news&start=last')
  const { page } = console
  const violations: string[] = []
  await page.exposeFunction('violated', (directive: string) => violations.push(directive))
  await page.evaluate("addEventListener('securitypolicyviolation', event => violated(event.violatedDirective))")
  // The service allows no such topic or id, but a proxy or another server might.
  await page.route('**/events?*', route => {
    const envelope = { topic: ATTACK, id: ATTACK, event: ATTACK, data: ATTACK }
    const gap = { topic: ATTACK, reason: ATTACK, after: ATTACK, resumedAt: ATTACK }
    const frames = [
      `event: stream.open\nid: ${ATTACK}\ndata: \n\n`,
      `id: ${ATTACK}\nevent: ${ATTACK}\ndata: ${ATTACK}\n\n`,
      `data: ${JSON.stringify(envelope)}\n\n`,
      `event: stream.gap\ndata: ${JSON.stringify(gap)}\n\n`,
      `event: stream.end\ndata: ${JSON.stringify({ topic: ATTACK, reason: ATTACK })}\n\n`
    ]
    return route.fulfill({ status: 200, contentType: 'text/event-stream', body: frames.join('') })
  })
  const list = { topics: [{ topic: ATTACK, last: ATTACK, subscribers: 1 }], total: 1 }
  const stream = { topics: [ATTACK], subject: ATTACK, ageMs: 1, events: 1, bytes: 1, behind: 1, waitingBytes: 1 }
  await page.route('**/topics?*', route => route.fulfill({ json: list }))
  await page.route('**/streams?*', route => route.fulfill({ json: { open: 1, lagging: 1, streams: [stream] } }))
  await page.evaluate(`location.hash = ${JSON.stringify(fragment.toString())}`)
  await console.untilText('#topics .topic', ATTACK)
  await console.untilText('#streams td:first-child', ATTACK)
  await page.fill('#filter', '')
  await console.untilRow(ATTACK)
  for (const name of ['name', 'id', 'data'] as const) t.ok((await console.column(name)).includes(ATTACK), name)
  t.equal((await console.column('topic', '.gap'))[0], ATTACK)
  await page.locator('#rows .event').last().click()
  t.equal(await console.text('#inspected-event'), ATTACK)
  t.equal(await console.text('#inspected-cursor'), ATTACK)
  await service.publish('news', { data: 'x' })
  t.same(await page.evaluate("[window.attacked, document.querySelectorAll('main img, main script').length]"), [undefined, 0])
  t.same(violations, [])
})

t.test('the page may run only its own script, loads nothing from other hosts, and can be disabled', async t => {
  const service = await TestService.start(t)
  const policy = (await service.call('/console')).headers.get('content-security-policy') ?? ''
  t.match(policy, /default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'/)
  t.match(policy, /require-trusted-types-for 'script'; trusted-types 'none'/)
  t.notMatch(policy, /unsafe|\*|data:|https?:/)
  const html = (await service.call('/console')).text
  t.notMatch(html, / style=| on\w+=|<script>|<style|https?:/)
  const page = await openPage(t, browser)
  await page.goto(`${service.origin}/console`)
  const assign = "document.createElement('div').innerHTML = '<b>x</b>'"
  await t.rejects(page.evaluate(assign), /TrustedHTML/)
  const without = await TestService.start(t, { CONSOLE: 'no' })
  t.equal((await without.call('/console')).status, 404)
})

t.test('a browser that opens / is redirected to the console', async t => {
  const service = await TestService.start(t)
  const { page } = await ConsolePage.open(t, browser, service)
  await page.goto(service.origin)
  t.equal(page.url(), `${service.origin}/console`)
})
