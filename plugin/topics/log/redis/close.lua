-- Closes a topic: it takes no more events.
--
-- KEYS  1  sse:{topic}:meta
-- ARGV  1  sse:{topic}:db0, the channel   2  PUBLISH, or SPUBLISH on a cluster   3  ms an idle topic is kept, 0: forever

-- An error means that nothing was done, so the rights that are needed after the first write are checked before it.
for _, command in ipairs({{'PEXPIRE', KEYS[1], '1'}, {ARGV[2], ARGV[1], ''}}) do
  if not redis.acl_check_cmd(unpack(command)) then
    return redis.error_reply('NOPERM this user may not run ' .. command[1] .. ' on ' .. command[2] .. ', which closing a topic needs')
  end
end

redis.call('HSET', KEYS[1], 'closed', '1')
if tonumber(ARGV[3]) > 0 then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
redis.call(ARGV[2], ARGV[1], 'C\n')
return 1
