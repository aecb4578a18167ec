-- Closes a topic: it takes no more events.
--
-- KEYS  1  sse:{topic}:log   2  sse:{topic}:meta
-- ARGV  1  sse:{topic}:db0, the channel   2  PUBLISH, or SPUBLISH on a cluster   3  ms an idle topic is kept, 0: forever

local stream, meta = KEYS[1], KEYS[2]
local refused = denied({{'HSET', meta, 'n', '0'}, {'PEXPIRE', meta, '1'}, {ARGV[2], ARGV[1], ''}}, 'closing a topic')
if refused then return refused end

local now, expire = now_ms(), tonumber(ARGV[3])
local fields = redis.call('HMGET', meta, 'touched', 'n', 'ms', 'past', 'closed')
if is_idle(fields[1], now, expire) then forget(stream, meta, fields[2], fields[3], fields[4]) end
redis.call('HSET', meta, 'closed', '1', 'touched', string.format('%.0f', now))
-- Why it was closed first stays.
if fields[5] ~= '1' then redis.call('HSET', meta, 'reason', 'closed', 'message', '', 'until', '0') end
if expire > 0 then redis.call('PEXPIRE', meta, remembered(expire)) end
redis.call(ARGV[2], ARGV[1], 'C\n')
return 1
