-- The first entry to begin with: of the last so many, or from a time on.
--
-- KEYS  1  sse:{topic}:log
-- ARGV  1  'last' or 'since'   2  how many, or Unix ms
-- Reply the entry's id, or '' when there is none

local entries
if ARGV[1] == 'last' then
  if tonumber(ARGV[2]) < 1 then return '' end
  entries = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', ARGV[2])
else
  entries = redis.call('XRANGE', KEYS[1], ARGV[2], '+', 'COUNT', 1)
end
local entry = entries[#entries]
return entry and entry[1] or ''
