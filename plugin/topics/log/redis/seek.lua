-- The first entry to begin with: of the last so many, or from a time on.
--
-- KEYS  1  sse:{topic}:log
-- ARGV  1  'last' or 'since'   2  how many, or Unix ms
-- Reply the entry's id, or '' when there is none

local from = ARGV[2]
if ARGV[1] == 'last' then
  if tonumber(ARGV[2]) < 1 then return '' end
  local entries = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', ARGV[2])
  from = #entries > 0 and entries[#entries][1] or '-'
end
local entry = first_from(KEYS[1], from)
return entry and entry[1] or ''
