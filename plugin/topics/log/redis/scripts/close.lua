-- Closes a topic: it takes no more events.
--
-- KEYS  1  sse:{topic}:log   2  sse:{topic}:meta
-- ARGV  1  sse:{topic}:db0, the channel   2  PUBLISH, or SPUBLISH on a cluster   3  ms an idle topic is kept, 0:
--       forever

local stream, meta = KEYS[1], KEYS[2]
local purpose = 'closing a topic'
local refused = denied(purpose, 'HSET', meta, 'n', '0') or denied(purpose, 'PEXPIRE', meta, '1')
  or denied(purpose, 'PEXPIRE', stream, '1') or denied(purpose, 'PERSIST', meta)
  or denied(purpose, ARGV[2], ARGV[1], '')
if refused then return refused end

local now, expire = now_ms(), tonumber(ARGV[3])
local fields = redis.call('HMGET', meta, 'touched', 'n', 'ms', 'past', 'closed', 'ttl', 'until')
local own = tonumber(fields[6] or expire)
if is_idle(fields[1], fields[7], now, own) then
  forget(stream, meta, fields[2], fields[3], fields[4])
  own = expire
  fields = {}
end
redis.call('HSET', meta, 'closed', '1', 'touched', string.format('%.0f', now))
-- The first reason is kept; an expired lease counts as the first.
local leased = tonumber(fields[7] or 0)
local reason = leased > 0 and leased <= now and 'lost' or 'closed'
if fields[5] ~= '1' then redis.call('HSET', meta, 'reason', reason, 'message', '', 'until', '0') end
keep(stream, meta, now, 0, own)
redis.call(ARGV[2], ARGV[1], 'C\n')
return 1
