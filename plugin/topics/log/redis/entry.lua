-- Comes before the scripts that look for entries. What another program added to a stream (XADD with '*', or without data)
-- is not ours and is passed over.

-- Bytes of the data of one of our entries; nil for another one.
local function data_bytes (entry)
  if string.sub(entry[1], -2) == '-0' then return nil end
  for at = 1, #entry[2], 2 do
    if entry[2][at] == 'data' then return #entry[2][at + 1] end
  end
  return nil
end

local function is_ours (entry) return data_bytes(entry) ~= nil end

-- The first entry of ours from an id on, '-' for the beginning; nil when there is none.
local function first_from (stream, id)
  local entry = redis.call('XRANGE', stream, id, '+', 'COUNT', 1)[1]
  while entry and not is_ours(entry) do
    entry = redis.call('XRANGE', stream, '(' .. entry[1], '+', 'COUNT', 1)[1]
  end
  return entry
end
