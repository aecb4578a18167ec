-- Extends an idle session.
--
-- KEYS  1  sse:session:{hash}
-- ARGV  1  ms a session lives unused
-- Reply 1 when it is there, else 0

local ends = redis.call('HGET', KEYS[1], 'ends')
if not ends then return 0 end
local time = redis.call('TIME')
local left = tonumber(ends) - (time[1] * 1000 + math.floor(time[2] / 1000))
if left <= 0 then return 0 end
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.min(tonumber(ARGV[1]), left)))
return 1
