-- Remembers that a subject was revoked, forgets what need not be remembered any more, and tells every node.
--
-- KEYS  1  sse:{revoked}:at     subject -> Unix ms of its last revocation
--       2  sse:{revoked}:until  subjects by the Unix ms until which they are remembered
-- ARGV  1  subject   2  ms to remember it   3  channel

-- An error means that nothing was revoked, so the right to announce it is checked first.
if not redis.acl_check_cmd('PUBLISH', ARGV[3], '') then
  return redis.error_reply('NOPERM this user may not run PUBLISH on ' .. ARGV[3] .. ', which every node listens to')
end

local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
for _, subject in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now)) do
  redis.call('HDEL', KEYS[1], subject)
  redis.call('ZREM', KEYS[2], subject)
end
redis.call('HSET', KEYS[1], ARGV[1], now)
redis.call('ZADD', KEYS[2], string.format('%.0f', now + ARGV[2]), ARGV[1])
redis.call('PUBLISH', ARGV[3], cjson.encode({ kind = 'subject revoked', subject = ARGV[1], atMs = tonumber(now) }))
return 1
