-- Entries after an id, oldest first, bounded by count and by bytes; at least one if there is any.
--
-- Redis bounds a range by count only, and the size of the next entries is not known: so they are read a few at a time,
-- as many as would fit if they had the size of the last one. At most CHUNK - 1 entries are read that are not returned,
-- and usually one.
--
-- KEYS  1  sse:{topic}:log
-- ARGV  1  the id           2  how many entries at most   3  how many bytes at most, as entry_bytes counts them
-- Reply {id to continue from if only entries of other programs were found, else '', entry, entry …}

local CHUNK = 16

local after, left, room = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local page, size = {''}, room
while left > 0 do
  local many = math.min(CHUNK, left, math.max(1, math.floor(room / size)))
  local entries = redis.call('XRANGE', KEYS[1], '(' .. after, '+', 'COUNT', many)
  for _, entry in ipairs(entries) do
    after = entry[1]
    local bytes = entry_bytes(entry)
    size = bytes or 1
    if bytes then
      if bytes > room and #page > 1 then return page end
      page[#page + 1] = entry
      room = room - bytes
    end
  end
  if #entries < many or room <= 0 then return page end
  left = left - many
end
if #page == 1 then page[1] = after end
return page
