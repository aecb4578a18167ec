-- Deletes a topic's entries and reopens it. Event numbers continue, so that an old cursor never refers to a different
-- event.
--
-- KEYS  1  sse:{topic}:log   2  sse:{topic}:meta
-- ARGV  1  sse:{topic}:db0, the channel   2  PUBLISH, or SPUBLISH on a cluster

local refused = denied('deleting a topic', 'HDEL', KEYS[2], 'closed')
  or denied('deleting a topic', ARGV[2], ARGV[1], '')
if refused then return refused end

redis.call('DEL', KEYS[1])
-- The fence is kept: the former producer no longer holds the lease, and its appends are rejected.
redis.call('HDEL', KEYS[2], 'closed', 'reason', 'message', 'holder', 'lease', 'until', 'accepted', 'stop')
redis.call(ARGV[2], ARGV[1], 'D\n')
return 1
