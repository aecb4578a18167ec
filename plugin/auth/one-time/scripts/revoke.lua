-- Remembers that a subject was revoked, forgets some that need not be remembered any more, and informs every node.
--
-- KEYS  1  sse:{revoked}:at         subjects by the Unix ms of their last revocation
--       2  sse:{revoked}:until      subjects by the Unix ms until which they are remembered
--       3  sse:{revoked}:forgotten  Unix ms of the latest revocation that was forgotten
-- ARGV  1  subject   2  ms to remember it   3  channel   4  how many are forgotten at most

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function ms (value) return string.format('%.0f', value) end

local forgotten = tonumber(redis.call('GET', KEYS[3]) or 0)
for _, subject in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ms(now), 'LIMIT', 0, ARGV[4])) do
  forgotten = math.max(forgotten, tonumber(redis.call('ZSCORE', KEYS[1], subject) or 0))
  redis.call('ZREM', KEYS[1], subject)
  redis.call('ZREM', KEYS[2], subject)
end
if forgotten > 0 then redis.call('SET', KEYS[3], ms(forgotten)) end

-- Never earlier than the one before, also when the clock goes back: nodes ask for what came after the latest that they
-- know.
local latest = redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]
local at = math.max(now, tonumber(latest or 0))
redis.call('ZADD', KEYS[1], ms(at), ARGV[1])
redis.call('ZADD', KEYS[2], ms(now + ARGV[2]), ARGV[1])
redis.call('PUBLISH', ARGV[3], cjson.encode({ kind = 'subject revoked', subject = ARGV[1], atMs = at }))
return 1
