import t from 'tap'
import type { Test } from 'tap'
import { openBrowser } from '../support/browser/browser.ts'
import { ConsolePage } from '../support/browser/console.ts'
import { Nginx } from '../support/network/nginx.ts'
import { stablePort } from '../support/network/ports.ts'
import { TestService } from '../support/service/service-app.ts'
import { SECRET, sign } from '../support/auth/tokens.ts'

// The self-test ("Is a proxy buffering or cutting my streams?") without a proxy and through real ones.

const browser = await openBrowser(t)

/** Starts nginx in front of the service, with these lines in its location. */
async function behindNginx (t: Test, { origin }: TestService, ...lines: string[]): Promise<string> {
  const port = await stablePort()
  await Nginx.start(t, `
    events {}
    pid nginx.pid;
    http {
      access_log off;
      server {
        listen 127.0.0.1:${port};
        location / {
          proxy_pass ${origin};
          proxy_http_version 1.1;
          proxy_set_header Host $http_host;
          ${lines.join('\n')}
        }
      }
    }`, port)
  return `http://127.0.0.1:${port}`
}

/** Runs the test on the page, and returns the results as `level: text`, without notes. */
async function selfTest (console: ConsolePage, hold: string): Promise<string[]> {
  await console.page.selectOption('#self-test [name=hold]', hold)
  await console.page.click('#start-test')
  await console.untilText('#self-test-status', 'Finished')
  const findings = console.page.locator('#findings li')
  const texts = await findings.evaluateAll(all => all.map(each => `${each.className}: ${each.textContent}`))
  return texts.filter(finding => !finding.startsWith('note'))
}

const GOOD = [
  /^good: OK The stream opened after/,
  /^good: OK Nothing buffers the stream/,
  /^good: OK The stream resumed after a reconnect: all 6 events once and in order/
]

t.test('without a proxy no problem is found', async t => {
  const service = await TestService.start(t)
  const console = await ConsolePage.open(t, browser, service)
  t.match(await selfTest(console, '0'), GOOD)
  t.match(await console.text('#self-test-status'), 'no problem found')
  t.match(await console.text('#findings .note'), 'a browser opens at most six streams to a host')
  t.match((await service.call('/topics/console.self-test')).json, { count: 0 }, 'its events are deleted')
})

t.test('through an nginx that does not buffer no problem is found', async t => {
  const service = await TestService.start(t)
  const origin = await behindNginx(t, service, 'proxy_buffering off;')
  t.match(await selfTest(await ConsolePage.open(t, browser, { origin }), '0'), GOOD)
})

// nginx forwards data immediately if it only buffers; if it compresses, it waits until a buffer is full. It compresses
// only what the service has not compressed.
t.test('a proxy that buffers is detected', async t => {
  const service = await TestService.start(t, { GZIP_MIN_BYTES: '0' })
  const compression = ['gzip on;', 'gzip_types text/event-stream;', 'gzip_proxied any;', 'gzip_min_length 0;']
  const origin = await behindNginx(t, service, 'proxy_ignore_headers X-Accel-Buffering;', ...compression)
  const console = await ConsolePage.open(t, browser, { origin })
  const findings = await selfTest(console, '0')
  t.match(findings[0], /^bad: Problem The stream sent nothing for 5\.0 s/)
  t.match(findings[1], /^bad: Problem A proxy buffers the stream: events arrived only after about \d+ KiB more/)
  t.match(await console.text('#self-test-status'), '2 problems found')
})

t.test('a proxy that cuts idle streams is detected, and the stream still resumes', async t => {
  const service = await TestService.start(t)
  const origin = await behindNginx(t, service, 'proxy_buffering off;', 'proxy_read_timeout 1s;')
  const findings = await selfTest(await ConsolePage.open(t, browser, { origin }), '20')
  t.match(findings, [GOOD[0], GOOD[1], /^bad: Problem The stream was cut after \d.*proxy_read_timeout/, GOOD[2]])
})

t.test('a user who may not subscribe or publish to the topic is shown which right is missing', async t => {
  const service = await TestService.start(t, { JWT_SECRET: SECRET })
  const console = await ConsolePage.open(t, browser, service)
  t.match(await selfTest(console, '0'), [/^bad: Problem The stream was rejected: 401/])
  await console.page.locator('#token-details summary').click()
  await console.page.fill('#token [name=value]', await sign({ topics: { subscribe: ['*'], publish: ['mine'] } }))
  await console.page.click('#token button.primary')
  t.match(await selfTest(console, '0'), [GOOD[0], /^bad: Problem The test cannot publish to console\.self-test: 403/])
  await console.page.fill('#self-test [name=topic]', 'mine')
  t.match(await selfTest(console, '0'), GOOD)
})
