-- Notes that a stream of a session is over, unless a later one is open.
--
-- KEYS  1  sse:session:{hash}
-- ARGV  1  turn of the stream

if redis.call('HGET', KEYS[1], 'open') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'open', '0')
return 1
