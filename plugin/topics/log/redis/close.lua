-- Closes a topic: it takes no more events.
--
-- KEYS  1  sse:{topic}:meta
-- ARGV  1  sse:{topic}   2  PUBLISH, or SPUBLISH on a cluster   3  ms an idle topic is kept, 0: for ever

redis.call('HSET', KEYS[1], 'closed', '1')
if tonumber(ARGV[3]) > 0 then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
redis.call(ARGV[2], ARGV[1], 'C\n')
return 1
