-- When subjects were revoked, as far as it is still remembered: one subject, or a page of all in the order of their
-- time.
--
-- KEYS  1  sse:{revoked}:at   2  sse:{revoked}:until   3  sse:{revoked}:forgotten    as in revoke.lua
-- ARGV  1  'one' or 'page'   2  the subject, or the Unix ms to begin with   3  entries of that time to skip   4  size
--       of a page
-- Reply {Unix ms of the latest revocation that was forgotten, Unix ms and entries to skip for the next page or '' when
--        this is the last one, subject, Unix ms, subject, Unix ms …}

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local found
if ARGV[1] == 'one' then
  local at = redis.call('ZSCORE', KEYS[1], ARGV[2])
  found = at and {ARGV[2], at} or {}
else
  found = redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[2], '+inf', 'WITHSCORES', 'LIMIT', ARGV[3], ARGV[4])
end
local forgotten = tonumber(redis.call('GET', KEYS[3]) or 0)
local reply = {'', '', 0}
for i = 1, #found, 2 do
  if tonumber(redis.call('ZSCORE', KEYS[2], found[i]) or 0) > now then
    reply[#reply + 1] = found[i]
    reply[#reply + 1] = found[i + 1]
  else
    -- Expired, but not removed yet.
    forgotten = math.max(forgotten, tonumber(found[i + 1]))
  end
end
reply[1] = string.format('%.0f', forgotten)
if ARGV[1] == 'page' and #found == 2 * tonumber(ARGV[4]) then
  -- The next page begins with the last time of this one, after those of it that have been read.
  local last, skip = found[#found], 0
  for i = 2, #found, 2 do if found[i] == last then skip = skip + 1 end end
  if tonumber(last) == tonumber(ARGV[2]) then skip = skip + ARGV[3] end
  reply[2], reply[3] = last, skip
end
return reply
