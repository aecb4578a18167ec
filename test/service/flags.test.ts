import t from 'tap'
import { parseFlags, suggest } from '../../service/cli/flags.ts'

const names = { values: ['host', 'port'], switches: ['help', 'check'] }

/** What of a command line was understood, as plain values. */
function read (...argv: string[]): object {
  const { values, switches, others, problems } = parseFlags(argv, names)
  return { values: Object.fromEntries(values), switches: [...switches], others, problems }
}

t.test('values stand behind a blank or an equals sign, switches alone, and the rest is in its order', async t => {
  t.same(read('a', '--host', 'x', '--check', 'b', '--port=80'), { values: { host: 'x', port: '80' }, switches: ['check'], others: ['a', 'b'], problems: [] })
  t.same(read(), { values: {}, switches: [], others: [], problems: [] })
})

t.test('-h is --help, and only where there is help', async t => {
  t.match(read('-h'), { switches: ['help'], problems: [] })
  t.match(parseFlags(['-h'], { values: ['host'], switches: [] }), { problems: ['unknown flag -h'] })
})

t.test('the last of two values counts', async t => {
  t.match(read('--port', '1', '--port', '2'), { values: { port: '2' } })
})

t.test('a value may look like anything behind an equals sign, and like a number below zero', async t => {
  t.match(read('--host=--port', '--port', '-1'), { values: { host: '--port', port: '-1' }, problems: [] })
  t.match(read('--host=a=b'), { values: { host: 'a=b' } })
})

t.test('what follows -- is no flag', async t => {
  t.match(read('--port', '1', '--', '--host', 'x'), { values: { port: '1' }, others: ['--host', 'x'], problems: [] })
})

t.test('all problems are told', async t => {
  t.match(read('--hots', 'x', '--help=yes', '--quiet-please', '-q', '--host'), {
    values: {},
    switches: [],
    problems: [
      'unknown flag --hots, did you mean --host?',
      '--help accepts no value, saw "yes"',
      'unknown flag --quiet-please',
      'unknown flag -q',
      '--host needs a value'
    ]
  })
})

// parseArgs takes the next argument for the value, whatever it is.
t.test('a flag is not taken for the value of the one before', async t => {
  t.match(read('--host', '--port', '80'), { problems: ['--host needs a value, saw the flag --port'], others: ['80'] })
})

t.test('a name is suggested when it is near', async t => {
  t.equal(suggest('publihs', ['publish', 'tail']), ', did you mean publish?')
  t.equal(suggest('xyz', ['publish', 'tail']), '')
  t.equal(suggest('tal', []), '')
})
