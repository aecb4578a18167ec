import t from 'tap'
import { injectSse } from '../../../plugin/testing/index.ts'
import { addAdmission } from '../../../plugin/reply/request/admission.ts'
import { buildApp } from '../../support/apps/app.ts'

t.test('all checks run in order, before all admissions, and the first one that rejects is the last one that is called', async t => {
  const app = await buildApp(t)
  const asked: string[] = []
  app.get('/', (request, reply) => {
    addAdmission(request, { check: () => { asked.push('check 1') }, admit: async () => { asked.push('admit 1') } })
    addAdmission(request, {
      check: () => { asked.push('check 2') },
      admit: async () => { asked.push('admit 2'); throw Object.assign(new Error('full'), { statusCode: 403 }) }
    })
    addAdmission(request, { admit: async () => { asked.push('admit 3') } })
    return reply.sse({ data: 'never' })
  })
  const { statusCode } = await injectSse(app, '/')
  t.equal(statusCode, 403)
  t.same(asked, ['check 1', 'check 2', 'admit 1', 'admit 2'])
})
