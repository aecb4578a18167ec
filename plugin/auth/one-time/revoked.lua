-- When subjects were revoked, as far as it is still remembered.
--
-- KEYS  1  sse:{revoked}:at   2  sse:{revoked}:until    as in revoke.lua
-- ARGV  1  a subject, or nothing: all
-- Reply {subject, Unix ms, subject, Unix ms …}

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local subjects = {}
if not ARGV[1] then
  subjects = redis.call('ZRANGEBYSCORE', KEYS[2], string.format('(%.0f', now), '+inf')
elseif (tonumber(redis.call('ZSCORE', KEYS[2], ARGV[1]) or 0)) > now then
  subjects = {ARGV[1]}
end
local reply = {}
for _, subject in ipairs(subjects) do
  reply[#reply + 1] = subject
  reply[#reply + 1] = redis.call('HGET', KEYS[1], subject)
end
return reply
