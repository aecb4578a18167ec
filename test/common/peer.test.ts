import t from 'tap'
import { importWithPeer, requirePeer } from '../../plugin/common/peer.ts'

const ABSENT = {
  code: 'FST_SSE_MISSING_PACKAGE',
  statusCode: 500,
  message: 'RedisLog needs the package "not-there": run "npm ' +
    'install not-there"'
}

t.test('a package that is not installed is reported with the command that installs it', async t => {
  t.throws(() => requirePeer('not-there', 'RedisLog'), ABSENT)
  await t.rejects(importWithPeer('not-there', 'RedisLog', () => import('not-there' as string)), ABSENT)
})

t.test('an installed package is loaded, and its own errors are passed on unchanged', async t => {
  t.type(requirePeer<{ Redis: unknown }>('ioredis', 'RedisLog').Redis, 'function')
  t.equal(await importWithPeer('jose', 'the option "jwt"', async () => 1), 1)
  const broken = new Error("Cannot find module 'inner'")
  await t.rejects(importWithPeer('jose', 'the option "jwt"', async () => { throw broken }), broken)
  await t.rejects(importWithPeer('jose', 'the option "jwt"', async () => {
    throw Object.assign(broken, { code: 'ERR_MODULE_NOT_FOUND' })
  }), broken)
})
