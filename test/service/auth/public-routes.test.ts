import { readFileSync } from 'node:fs'
import t from 'tap'
import { buildService, readConfig } from '../../../service/index.ts'
import { SECRET } from '../../support/auth/tokens.ts'

const withKey = () =>
  buildService(readConfig({ LOG: 'memory', LOG_LEVEL: 'silent', JWT_SECRET: SECRET }))

t.test('the public routes are those that docs/auth.md lists', async t => {
  const [, listed] = /requires a grant, except ([^]*?);/.exec(readFileSync('docs/auth.md', 'utf8')) ?? []
  const documented = [...listed!.matchAll(/`([^`]+)`/g)].map(([, path]) => path!)
  const app = await withKey()
  t.teardown(() => app.close())
  await app.ready()
  const open: string[] = []
  for (const [path, { methods }] of app.methodsByPath) {
    const url = path.replace(/:\w+/g, 'news')
    // OPTIONS only lists the methods.
    for (const method of [...methods].filter(each => each !== 'OPTIONS')) {
      const { statusCode } = await app.inject({ method: method as 'GET', url })
      // 405: another method of a public path.
      if (![401, 405].includes(statusCode)) open.push(`${method} ${path}`)
    }
  }
  const paths = [...new Set(open.map(each => each.split(' ')[1]!))]
  t.same(paths.sort(), [...documented, '/console/console.css', '/console/console.js'].sort())
  t.same(open.filter(each => !/^(GET|HEAD) /.test(each)), [])
})

// Regression: routes were public if their URL began with /console.
t.test('a route is not public unless it says so, whatever its URL is', async t => {
  const app = await withKey()
  t.teardown(() => app.close())
  for (const url of ['/console-log', '/console/users', '/new']) app.get(url, () => 'secret')
  app.get('/public', { config: { isPublic: true } }, () => 'for all')
  for (const url of ['/console-log', '/console/users', '/new']) t.equal((await app.inject(url)).statusCode, 401, url)
  t.equal((await app.inject('/public')).statusCode, 200)
})
