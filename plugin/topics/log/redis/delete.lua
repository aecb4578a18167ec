-- Drops a topic's entries and reopens it. Its numbers go on, so that no cursor ever means another event.
--
-- KEYS  1  sse:{topic}:log   2  sse:{topic}:meta
-- ARGV  1  sse:{topic}:db0, the channel   2  PUBLISH, or SPUBLISH on a cluster

for _, command in ipairs({{'HDEL', KEYS[2], 'closed'}, {ARGV[2], ARGV[1], ''}}) do
  if not redis.acl_check_cmd(unpack(command)) then
    return redis.error_reply('NOPERM this user may not run ' .. command[1] .. ' on ' .. command[2] .. ', which deleting a topic needs')
  end
end
redis.call('DEL', KEYS[1])
redis.call('HDEL', KEYS[2], 'closed')
redis.call(ARGV[2], ARGV[1], 'D\n')
return 1
