-- Publishes a message about a session to every node; with 'end', deletes the session first. Runs on the cluster node
-- that holds the session, so that messages about one session arrive in order.
--
-- KEYS  1  sse:token:{hash}   2  sse:session:{hash}
-- ARGV  1  channel   2  message   3  'end' to delete both keys

if not redis.acl_check_cmd('PUBLISH', ARGV[1], ARGV[2]) then
  return redis.error_reply('NOPERM this user may not run PUBLISH on ' .. ARGV[1] .. ', which every node listens to')
end
if ARGV[3] == 'end' then redis.call('DEL', KEYS[1], KEYS[2]) end
redis.call('PUBLISH', ARGV[1], ARGV[2])
return 1
