import t from 'tap'
import ts from 'typescript'
import { openBrowser, openPage } from '../support/browser/browser.ts'
import { blocksOf, readDoc } from '../support/documents/markdown.ts'
import { startApp } from '../support/documents/installed-app.ts'
import { emptyFolder, pack, succeed, writeFiles } from '../support/documents/packages.ts'
import { stablePort } from '../support/network/ports.ts'

// Follows docs/guides/app.md in an empty folder, as a new user would.

const GUIDE = 'docs/guides/app.md'

/** The commands that the guide shows without output. */
function commands (): string[] {
  return [...readDoc(GUIDE).matchAll(/^ {4}(npm .*)$/gm)].map(([, command]) => command!)
}

/** The app of the guide with the changes of its section about kill -9, as JavaScript, on a port of the test. */
function program (port: number): string {
  const app = blocksOf(GUIDE).find(({ language }) => language === 'ts')!.text
  const [imports = '', register = '', page = ''] = blocksOf(GUIDE)
    .filter(({ section }) => section.includes('kill -9'))
    .map(({ text }) => text)
  const changed = app
    .replace(/^import topics, .*$/m, imports)
    .replace(/^await app\.register\(topics, .*$/m, register)
    .replace('await app.listen({ port: 3000 })', () => `${page}\nawait app.listen({ port: ${port} })`)
  const compilerOptions = { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ES2022 }
  return ts.transpileModule(changed, { compilerOptions }).outputText
}

t.test('from an empty folder to a page that survives kill -9 of the server', async t => {
  const folder = emptyFolder(t)
  const tarball = await pack(t, 'plugin')
  for (const command of commands()) {
    await succeed(folder, 'bash', ['-c', command.replace('fastify-resumable-sse', tarball)])
  }
  const port = await stablePort()
  const origin = `http://127.0.0.1:${port}`
  writeFiles(folder, { 'app.mjs': program(port) })
  // The requests that the guide shows with curl.
  const publish = async (status: string): Promise<number> => {
    const headers = { 'content-type': 'application/json' }
    return (await fetch(`${origin}/orders/7/status`, {
      method: 'POST', headers, body: JSON.stringify({ status })
    })).status
  }

  const kill = await startApp(t, { folder, file: 'app.mjs', origin })
  const page = await openPage(t, await openBrowser(t))
  await page.goto(origin)
  t.equal(await publish('packed'), 201)
  await page.getByText('packed').waitFor()
  await kill()
  await startApp(t, { folder, file: 'app.mjs', origin })
  for (const status of ['shipped', 'delivered']) t.equal(await publish(status), 201)
  await page.getByText('delivered').waitFor()
  t.same(await page.locator('li').allTextContents(), ['packed', 'shipped', 'delivered'])
})
