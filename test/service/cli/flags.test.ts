import t from 'tap'
import { parseFlags, suggest } from '../../../service/cli/flags.ts'

const names = { values: ['host', 'port'], switches: ['help', 'check'] }

/** The parsed command line as plain values. */
function read (...argv: string[]): object {
  const { values, switches, others, problems } = parseFlags(argv, names)
  return { values: Object.fromEntries(values), switches: [...switches], others, problems }
}

t.test('values follow a space or an equals sign, switches have none, and other arguments keep their order', async t => {
  t.same(read('a', '--host', 'x', '--check', 'b', '--port=80'), {
    values: { host: 'x', port: '80' }, switches: ['check'], others: ['a', 'b'], problems: []
  })
  t.same(read(), { values: {}, switches: [], others: [], problems: [] })
})

t.test('-h is --help, and only if there is such a switch', async t => {
  t.match(read('-h'), { switches: ['help'], problems: [] })
  t.match(parseFlags(['-h'], { values: ['host'], switches: [] }), { problems: ['unknown flag -h'] })
})

t.test('the last of two values is used', async t => {
  t.match(read('--port', '1', '--port', '2'), { values: { port: '2' } })
})

t.test('a value after an equals sign may be anything, and a value after a space may be a negative number', async t => {
  t.match(read('--host=--port', '--port', '-1'), { values: { host: '--port', port: '-1' }, problems: [] })
  t.match(read('--host=a=b'), { values: { host: 'a=b' } })
})

t.test('arguments after -- are not flags', async t => {
  t.match(read('--port', '1', '--', '--host', 'x'), { values: { port: '1' }, others: ['--host', 'x'], problems: [] })
})

t.test('all problems are reported', async t => {
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

// parseArgs uses the next argument as the value, whatever it is.
t.test('a flag is not read as the value of the previous one', async t => {
  t.match(read('--host', '--port', '80'), { problems: ['--host needs a value, saw the flag --port'], others: ['80'] })
})

t.test('a similar name is suggested', async t => {
  t.equal(suggest('publihs', ['publish', 'tail']), ', did you mean publish?')
  t.equal(suggest('xyz', ['publish', 'tail']), '')
  t.equal(suggest('tal', []), '')
})
