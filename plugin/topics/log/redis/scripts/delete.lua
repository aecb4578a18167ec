-- Deletes a topic's entries and reopens it. Event numbers continue, so that an old cursor never refers to a different
-- event.
--
-- KEYS  1  sse:{topic}:log   2  sse:{topic}:meta
-- ARGV  1  sse:{topic}:db0, the channel   2  PUBLISH, or SPUBLISH on a cluster   3  1: only if the topic is closed
-- Reply 1, or 0 if the topic is not closed

local refused = denied('deleting a topic', 'HDEL', KEYS[2], 'closed')
  or denied('deleting a topic', ARGV[2], ARGV[1], '')
if refused then return refused end

if ARGV[3] == '1' then
  local fields = redis.call('HMGET', KEYS[2], 'closed', 'until')
  local leased = tonumber(fields[2] or 0)
  -- A topic whose producer has lost its lease is closed, even if no request has noticed it yet.
  if fields[1] ~= '1' and (leased == 0 or leased > now_ms()) then return 0 end
end

redis.call('DEL', KEYS[1])
-- The fence is kept: the former producer no longer holds the lease, and its appends are rejected.
redis.call('HDEL', KEYS[2], 'closed', 'reason', 'message', 'holder', 'lease', 'until', 'accepted', 'stop')
redis.call(ARGV[2], ARGV[1], 'D\n')
return 1
