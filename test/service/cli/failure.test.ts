import t from 'tap'
import { describeFailure } from '../../../service/cli/failure.ts'
import { unreadable } from '../../../service/config/variable.ts'
import { OwnedTopics } from '../../../service/streams/owned-topics.ts'

const systemError = (code: string, syscall: string) => Object.assign(new Error(`${syscall} ${code}`), { code, syscall })

t.test('a system error is followed by a hint if there is one', t => {
  t.match(describeFailure(systemError('EADDRINUSE', 'listen')), /^listen EADDRINUSE: stop the program/)
  t.match(describeFailure(systemError('EADDRINUSE', 'bind')), /^bind EADDRINUSE: stop the program/)
  t.equal(describeFailure(systemError('ENFILE', 'listen')), 'listen ENFILE')
  t.equal(describeFailure(systemError('EACCES', 'open')), 'open EACCES')
  t.end()
})

t.test('an error of the log or the token store is described by its message', t => {
  const withCode = (code: unknown) => Object.assign(new Error('topics: option "folder" is damaged'), { code })
  for (const code of ['TOPICS_LOG_CORRUPT', 'FST_SSE_STORE_CORRUPT']) {
    t.equal(describeFailure(withCode(code)), 'DATA_DIR is damaged')
  }
  t.match(describeFailure(withCode(-30_796)), /is damaged\n +at /, 'LMDB has numbers as codes')
  t.end()
})

t.test('any other error is described by its stack, if it has one', t => {
  const error = new Error('broken')
  t.equal(describeFailure(error), error.stack)
  delete error.stack
  t.equal(describeFailure(error), 'broken')
  t.equal(describeFailure('thrown text'), 'thrown text')
  t.end()
})

t.test('a path below a file is unreadable, with the error code of the system', t => {
  t.match(unreadable(`${import.meta.filename}/below`), [/: ENOTDIR$/])
  t.match(unreadable(import.meta.dirname), [/: it is not a file$/])
  t.end()
})

t.test('topics of an unknown owner are not deleted', t => {
  const owned = new OwnedTopics()
  t.doesNotThrow(() => owned.delete('nobody', ['a']))
  t.end()
})
