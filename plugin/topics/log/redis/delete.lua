-- Drops a topic's entries and reopens it. Its numbers go on, so that no cursor ever means another event.
--
-- KEYS  1  sse:{topic}:log   2  sse:{topic}:meta
-- ARGV  1  sse:{topic}:db0, the channel   2  PUBLISH, or SPUBLISH on a cluster

local refused = denied({{'HDEL', KEYS[2], 'closed'}, {ARGV[2], ARGV[1], ''}}, 'deleting a topic')
if refused then return refused end

redis.call('DEL', KEYS[1])
-- The fence stays: its producer is none any more, and an append of it is refused.
redis.call('HDEL', KEYS[2], 'closed', 'reason', 'message', 'holder', 'lease', 'until', 'accepted', 'stop')
redis.call(ARGV[2], ARGV[1], 'D\n')
return 1
