import t from 'tap'
import { open } from '../../support/clients/client.ts'
import { GZIP } from '../../support/clients/gzip.ts'
import { TestService } from '../../support/service/service-app.ts'

t.test('streams are compressed for clients that accept gzip, unless GZIP_MIN_BYTES is 0', async t => {
  for (const [env, encoding] of [[{}, 'gzip'], [{ GZIP_MIN_BYTES: '0' }, undefined]] as const) {
    const service = await TestService.start(t, env)
    const { headers } = await open(t, `${service.origin}/events?topic=news`, { headers: GZIP })
    t.equal(headers['content-encoding'], encoding)
  }
})
