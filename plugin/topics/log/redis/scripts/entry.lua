-- Prepended to the scripts that search for entries. Entries that another program added to a stream (XADD with '*', or
-- without data) are skipped.

local EVENT_BYTES = 32    -- what an event counts for in addition to its texts, as in entry-bytes.ts

-- Bytes of one of our entries, nil for another one. All its values count: a page contains them all, whoever wrote them.
local function entry_bytes (entry)
  if string.sub(entry[1], -2) == '-0' then return nil end
  local bytes, is_ours = EVENT_BYTES, false
  for at = 1, #entry[2], 2 do
    if entry[2][at] == 'data' then is_ours = true end
    bytes = bytes + #entry[2][at + 1]
  end
  return is_ours and bytes or nil
end

local function is_ours (entry) return entry_bytes(entry) ~= nil end

-- The first entry of ours from an id on, '-' for the beginning; nil when there is none.
local function first_from (stream, id)
  local entry = redis.call('XRANGE', stream, id, '+', 'COUNT', 1)[1]
  while entry and not is_ours(entry) do
    entry = redis.call('XRANGE', stream, '(' .. entry[1], '+', 'COUNT', 1)[1]
  end
  return entry
end
