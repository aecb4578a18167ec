-- Stores a new token.
--
-- KEYS  1  sse:token:{hash}
-- ARGV  1  record   2  ms it can be redeemed   3  when its grant expires, in Unix ms

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local till = math.min(now + tonumber(ARGV[2]), tonumber(ARGV[3]))
if till <= now then return 0 end
redis.call('HSET', KEYS[1], 'record', ARGV[1], 'until', string.format('%.0f', till), 'expires', ARGV[3])
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', till - now))
return 1
