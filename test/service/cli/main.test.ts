import { createServer } from 'node:net'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { variables } from '../../../service/config/config.ts'
import { FILE_VARIABLES, flagOf } from '../../../service/config/read-config.ts'
import type { Variable } from '../../../service/config/variable.ts'
import { run, startService } from '../../support/processes/commands.ts'
import { certificateFiles } from '../../support/network/http2-client.ts'
import { RedisServer } from '../../support/redis/redis-server.ts'
import { runCommand } from '../../support/processes/terminal.ts'

const withoutMarkdown = (text: string): string =>
  text.replaceAll('`', '').replace('[docs/redis.md](docs/redis.md#connecting-to-redis)', 'docs/redis.md')

// Valid command lines, and the message for each mistake.

t.test('--help lists every variable with its flag, meaning, values and default, and the commands', async t => {
  for (const argv of [['--help'], ['-h'], ['serve', '--help'], ['--port', '1', '--help']]) {
    const { code, out, err } = await runCommand(argv)
    t.equal(code, 0)
    t.equal(err, '')
    for (const [name, { allowed, default: fallback, meaning }] of Object.entries<Variable>(variables)) {
      const file = FILE_VARIABLES.get(name)
      const fileLine = file === undefined
        ? ''
        : `  --${flagOf(file)}, ${file} (a file that contains it; the process list would show a secret in a flag)\n`
      t.ok(out.includes(
        `  --${flagOf(name)}, ${name}\n${fileLine}      ${withoutMarkdown(meaning)}\n      ${allowed}; ${fallback === undefined ? 'no default' : `default ${fallback}`}.\n`
      ), name)
    }
    for (const title of ['Where it listens', 'Redis', 'Limits', 'Examples']) t.match(out, `\n${title}:\n`)
    t.notMatch(out, '\nOther:\n', 'a new variable is in a group of help.ts')
    t.equal(out.match(/^ {2}--[a-z-]+, [A-Z_]+$/gm)?.length, Object.keys(variables).length, 'each is in exactly one group')
    for (const command of ['publish TOPIC [DATA]', 'tail TOPIC…', 'token [flags]']) {
      t.match(out, `\nresumable-sse ${command}: `)
    }
  }
})

t.test('--help after a command lists its flags', async t => {
  const { code, out } = await runCommand(['tail', '--help'])
  t.equal(code, 0)
  t.match(out, /^resumable-sse tail TOPIC…: .*\n\n {2}--after CURSOR +Begin/)
  t.match((await runCommand(['publish', 'news', '-h'])).out, '\n  --ndjson  ')
})

t.test('the built command prints the version of the package', async t => {
  const command = run(t, process.execPath, ['service/dist/cli.js', '--version'])
  t.equal(await command.exit(), 0)
  t.match(command.out, /^\d+\.\d+\.\d+\n$/)
  // The one above loads nothing but the version; with other flags the whole command handles it.
  const among = await runCommand(['serve', '--version'])
  t.match(among, { code: 0, out: command.out })
})

t.test('an invalid argument is reported with a suggestion, and the exit code is 2', async t => {
  const cases: [string[], string][] = [
    [['publsh', 'news'], 'unknown command "publsh", did you mean publish?'],
    [['zzzzzzzzzz'], 'unknown command "zzzzzzzzzz"'],
    [['constructor'], 'unknown command "constructor"'],
    [['serve', '--prot=80'], 'invalid configuration:\n  - unknown flag --prot, did you mean --port?'],
    [['--prot=80'], 'invalid configuration:\n  - unknown flag --prot, did you mean --port?'],
    [['--check', 'now'], 'invalid configuration:\n  - unknown argument "now"'],
    [
      ['tail', 'news', '--jsn', '--urk=x'],
      'unknown flag --jsn, did you mean --json?\nunknown flag --urk, did you mean --url?'
    ],
    [['tail'], 'tail needs a topic'],
    [['tail', 'news', '--url', 'localhost:8080'], '--url must be an http or https URL, saw "localhost:8080"'],
    [['tail', 'news', '--url', 'http://'], '--url must be an http or https URL, saw "http://"'],
    [['publish'], 'publish needs a topic'],
    [['publish', 'news', 'hello', 'world'], 'publish accepts one DATA argument: quote data that contains spaces'],
    [['publish', 'news', '{}', '--ndjson'], '--ndjson reads stdin: omit DATA'],
    // Regression: the service was asked, again and again if it could not be reached.
    [['tail', 'news', '--last', 'x'], '--last must be a number of events, from 0 to 10000, saw "x"'],
    [['tail', 'news', '--last', '10001'], '--last must be a number of events, from 0 to 10000, saw "10001"'],
    [['tail', 'news', '--since', '1y'], '--since must be a duration such as 30s, 10m, 2h or 1d, saw "1y"'],
    [['tail', 'news', '--last', '1', '--since', '1h'], '--last and --since cannot be combined'],
    [['token', '--subscribe', 'news.*,a b'], '--subscribe must be patterns of topics such as news.*,orders, saw "a b"']
  ]
  for (const [argv, message] of cases) {
    const command = ['publish', 'tail', 'token'].includes(argv[0]!) ? ` ${argv[0]}` : ''
    t.same(await runCommand(argv), {
      code: 2, out: '', err: `resumable-sse: ${message}\nrun resumable-sse${command} --help for usage\n`
    }, argv.join(' '))
  }
})

t.test('an invalid value is not a mistake of the command line: the exit code is 1', async t => {
  t.same(await runCommand(['--port', 'x']), {
    code: 1,
    out: '',
    err: 'resumable-sse: invalid configuration:\n  - --port must be an integer from 0 to 65535, saw "x"\n'
  })
})

t.test('--check prints what it would do, does not listen, and exits with 0', async t => {
  const other = createServer().listen(0, '127.0.0.1')
  t.teardown(() => other.close())
  await once(other, 'listening')
  const { port } = other.address() as AddressInfo
  const folder = t.testdir()
  t.same(await runCommand(['--check', '--data-dir', folder], { PORT: `${port}` }), {
    code: 0,
    out: `resumable-sse would listen on http://127.0.0.1:${port} (events on disk, in ${folder}); the log responds\n`,
    err: ''
  })
  const { cert, key } = certificateFiles(t)
  t.match(
    (await runCommand(['--check'], { LOG: 'memory', TLS_CERT: cert, TLS_KEY: key })).out,
    'https://127.0.0.1:8080 (events in memory'
  )
  t.match(
    (await runCommand(['serve', '--check'], { LOG: 'memory', HOST: '::1' })).out,
    'http://[::1]:8080 (events in memory'
  )
})

t.test('--check connects to Redis, also with workers', async t => {
  const { url } = await RedisServer.start(t)
  t.same(await runCommand(['--check', '--workers', '2'], { REDIS_URL: url }), {
    code: 0,
    out: 'resumable-sse would listen on http://127.0.0.1:8080 with 2 workers (events in Redis); the log responds\n',
    err: ''
  })
})

t.test('--check exits with 1 if the log is unavailable or in use, or the configuration is invalid', async t => {
  t.match(await runCommand(['--check'], { REDIS_URL: 'redis://127.0.0.1:1' }), {
    code: 1, out: '', err: /^resumable-sse: the log is not available: /
  })
  t.match(await runCommand(['--check'], { PORT: 'x' }), { code: 1, out: '', err: /PORT must be/ })
  const folder = t.testdir()
  await startService(t, { DATA_DIR: folder })
  t.match(await runCommand(['--check'], { DATA_DIR: folder }), { code: 1, out: '', err: /in use by another process/ })
})
