-- Finds out whether events can be written, and leaves nothing: what is written is removed in the same step.
--
-- KEYS  1  sse:{topic}:check
-- ARGV  1  sse:{topic}:db0, the channel   2  PUBLISH, or SPUBLISH on a cluster
-- Reply 1, or the error that a publish would get

local refused = append_denied(KEYS[1], KEYS[1], KEYS[1], ARGV[2], ARGV[1]) or denied('a deletion', 'DEL', KEYS[1])
if refused then return refused end

redis.call('XADD', KEYS[1], '*', 'data', '')
redis.call('DEL', KEYS[1])
return 1
