import { createParser } from 'eventsource-parser'
import t from 'tap'
import { open } from '../../support/clients/client.ts'
import { TestService } from '../../support/service/service-app.ts'

// A line break in a field that is written into a header or an event could start another header or field: a cookie, an
// event that nobody published, a cursor chosen by somebody else. Every field that a client can set is tested.

const LINES = '\r\nset-cookie: injected=1\r\n\r\nevent: injected\ndata: injected\nid: injected\n\n'
/** Line breaks as browsers, Node and hand-made requests send them, and characters that some programs treat as such. */
const ENDS = ['\r\n', '\n', '\r', '\u2028', '\u0085', '\u0000\n']

const isClean = (text: string): boolean => !/(?:^|[\r\n])(?:set-cookie|event|data|id): ?injected/i.test(text)

t.test('line breaks in the query and in the path start no header and no event', async t => {
  const service = await TestService.start(t)
  for (const end of ENDS) {
    const lines = encodeURIComponent(LINES.replace(/\r\n|\n/g, end))
    const paths = [
      `/events?topic=news${lines}`,
      `/events?topic=news&since=${lines}`,
      `/events?topic=news&last=${lines}`,
      `/events?${lines}=news`,
      `/topics/${lines}`,
      `/${lines}`,
      `/${lines}?ot=${lines}`
    ]
    for (const path of paths) {
      const { status, headers, text } = await service.call(path)
      t.ok(status >= 400 && status < 500, `${status} ${path}`)
      t.notOk(headers.has('set-cookie'))
      t.ok(isClean(text), 'the response')
    }
  }
})

t.test('line breaks in a cursor are a gap that contains none of it', async t => {
  const service = await TestService.start(t)
  for (const end of ENDS) {
    const { statusCode, inbox, close } = await open(
      t,
      `${service.origin}/events?topic=news&lastEventId=${encodeURIComponent(LINES.replace(/\r\n|\n/g, end))}`
    )
    t.equal(statusCode, 200)
    t.ok(isClean(await inbox.until(/stream\.gap\ndata: .*\n\n/.test.bind(/stream\.gap\ndata: .*\n\n/))))
    close()
  }
})

t.test('a publisher cannot write more than the event that it publishes', async t => {
  const service = await TestService.start(t)
  const { inbox } = await open(t, `${service.origin}/events?topic=news`)
  await inbox.until('stream.open')
  for (const end of ['\r\n', '\n', '\r', '\u0000']) {
    const lines = `x${LINES.replace(/\r\n|\n/g, end)}`
    for (const event of [
      { event: lines, data: '' }, { data: 'x', retry: lines }, { data: 'x', id: lines }, { data: 'x', [lines]: 1 }
    ]) {
      const { status, text } = await service.publish('news', event)
      t.equal(status, 400, JSON.stringify(event))
      t.ok(isClean(text), 'the response')
    }
  }
  for (const data of [LINES, LINES.replaceAll('\r\n', '\r'), LINES.replaceAll('\r\n', '\n')]) {
    t.equal((await service.publish('news', { data })).status, 201)
  }
  t.equal((await service.publish('news', LINES, { type: 'text/plain' })).status, 201)
  t.equal((await service.publish('news', { event: 'last', data: '' })).status, 201)
  const seen: { event: string | undefined, data: string }[] = []
  createParser({ onEvent: ({ event, data }) => seen.push({ event, data }) }).feed(
    await inbox.until('event: last\ndata: \n\n')
  )
  const data = LINES.replaceAll('\r\n', '\n')
  t.same(seen.slice(1), [...Array.from({ length: 4 }, () => ({ event: undefined, data })), { event: 'last', data: '' }])
})
