-- Prepended to the other scripts. Reads a topic's state, and detects that the server's replication history is not the
-- one that last wrote it.
--
-- Replication is asynchronous: a promoted replica can lack the last entries, and would give their numbers away again.
-- The server's replication id changes with every promotion (and with a restart that may have lost something), so when
-- it is not the one stored with the topic, the numbers that may have been lost are skipped. The skip is stored as
-- "<ms>-<n of the last entry>:<next number>", oldest first. Readers treat both sides of a skip as neighbours.
--
-- A topic without appends for `expire` ms is forgotten, its numbers too. That there was one is remembered for a while
-- longer, in the field 'past': 1 ms after its last event. Readers that were there before it learn that they missed it.

local MAX_SKIPS = 32
local DAY = 86400000

-- The error for a command that the user may not run; nil if the user may. An error must mean that nothing was done, so
-- a script checks all its commands before its first write. Without tables of commands: making them took a fifth of an
-- append.
local function denied (purpose, command, on, ...)
  if redis.acl_check_cmd(command, on, ...) then return end
  return redis.error_reply('NOPERM this user may not run ' .. command .. ' on ' .. on .. ', which ' .. purpose
    .. ' needs')
end

-- The same for all that a publish needs; `key` is nil without an idempotency key.
local function append_denied (stream, meta, key, publish, channel)
  local purpose = 'a publish'
  return denied(purpose, 'XADD', stream, '*', 'data', '') or denied(purpose, 'XTRIM', stream, 'MINID', '0')
    or denied(purpose, 'HSET', meta, 'n', '0') or denied(purpose, 'HDEL', meta, 'next')
    or denied(purpose, 'PEXPIRE', stream, '1')
    or denied(purpose, 'PERSIST', stream) or denied(purpose, publish, channel, '')
    or key and denied(purpose, 'SET', key, '')
end

-- True for the error of a server that rejects writes and answers reads: its memory or disk is full, or replicas are
-- missing.
local function is_full (refused)
  local code = string.match(refused.err, '^%u+')
  return code == 'OOM' or code == 'MISCONF' or code == 'NOREPLICAS'
end

-- How long a topic's state is kept after its last append.
local function remembered (expire)
  return expire + math.max(expire, DAY)
end

-- A silent producer keeps its topic while its lease runs: readers then learn that it was lost.
local function is_idle (touched, until_ms, now, expire)
  return expire > 0 and touched and now - math.max(tonumber(touched), tonumber(until_ms or 0)) >= expire
end

-- Has Redis drop the keys when the topic has been idle for so long; 0: never, even if a shorter time was set before, by
-- another retention, for the `ttl` of an earlier producer, or when the topic was forgotten.
local function keep (stream, meta, now, until_ms, expire)
  if expire == 0 then
    redis.call('PERSIST', stream)
    redis.call('PERSIST', meta)
    return
  end
  local leased = math.max(0, until_ms - now)
  redis.call('PEXPIRE', stream, string.format('%.0f', leased + expire))
  redis.call('PEXPIRE', meta, string.format('%.0f', leased + remembered(expire)))
end

-- The stream expires by Redis' own clock, which may be a few milliseconds later than the one that is_idle saw: without
-- the deletion its entries would come back to life with the next append. What is remembered expires when the meta key
-- would have, also if topics are now kept indefinitely: the next append, close or lease persists it.
local function forget (stream, meta, n, ms, past)
  local kept = redis.call('PTTL', meta)
  local ended = n and string.format('%.0f', ms + 1) or past or '0'
  redis.call('DEL', stream, meta)
  redis.call('HSET', meta, 'past', ended)
  if kept > 0 then redis.call('PEXPIRE', meta, kept) end
  return ended
end

-- Removes our entries after an id, up to those with the number `before`; all of them where it is nil.
local function remove_after (stream, id, before)
  local entry = redis.call('XRANGE', stream, '(' .. id, '+', 'COUNT', 1)[1]
  while entry do
    local n = tonumber(string.match(entry[1], '%d+$'))
    if before and n >= before then return end
    -- Another program's entries have the number 0.
    if n > 0 then redis.call('XDEL', stream, entry[1]) end
    entry = redis.call('XRANGE', stream, '(' .. entry[1], '+', 'COUNT', 1)[1]
  end
end

-- A batch whose write to the append-only file was cut off can come back in part when Redis is started again, or even
-- later: above the topic's number, or inside of a skip. It was never acknowledged, and its publisher may have published
-- it again.
local function remove_torn (stream, state)
  remove_after(stream, string.format('%.0f-%.0f', state.ms, state.n))
  for from, to in string.gmatch(state.skips, '([^,:]+):(%d+)') do remove_after(stream, from, tonumber(to)) end
end

-- Entries of a topic without a number: its first batch was torn, or something else than these scripts removed the meta
-- key. The next events get their numbers again, so they go, as when a topic is forgotten. Its lease, if it has one,
-- stays.
local function drop_leftovers (stream, meta, state)
  local newest = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
  while newest and string.sub(newest[1], -2) == '-0' do
    newest = redis.call('XREVRANGE', stream, '(' .. newest[1], '-', 'COUNT', 1)[1]
  end
  if not newest then return end
  state.past = math.max(state.past, string.match(newest[1], '^%d+') + 1)
  local is_new = redis.call('EXISTS', meta) == 0
  redis.call('HSET', meta, 'past', string.format('%.0f', state.past))
  if is_new then redis.call('PEXPIRE', meta, string.format('%.0f', remembered(state.expire))) end
  redis.call('DEL', stream)
end

-- The state has `refused`, an error, if a new replication id could not be stored: nothing may be appended then. Readers
-- can use this state, although the skip that will be stored is another one: there is no entry after it yet.
local function load_state (stream, meta, now, expire)
  local fields = redis.call('HMGET', meta, 'n', 'ms', 'closed', 'replid', 'skips', 'next', 'born', 'past', 'touched',
    'fence', 'until', 'accepted', 'ttl')
  local own = tonumber(fields[13] or expire)
  if is_idle(fields[9], fields[11], now, own) then
    own = expire
    fields = {[8] = forget(stream, meta, fields[1], fields[2], fields[8])}
  end
  local state = {
    n = tonumber(fields[1] or 0), ms = tonumber(fields[2] or 0), closed = fields[3] == '1',
    skips = fields[5] or '', next = fields[6] and tonumber(fields[6]), born = fields[7] or '0',
    past = tonumber(fields[8] or 0), touched = tonumber(fields[9] or 0),
    fence = fields[10] or '0', until_ms = tonumber(fields[11] or 0), accepted = tonumber(fields[12] or 0),
    -- How long the idle topic is kept: what its producer asked for, otherwise what retention says.
    expire = own
  }
  if state.n == 0 then drop_leftovers(stream, meta, state) end
  local info = redis.call('INFO', 'replication')
  local at = string.find(info, 'master_replid:', 1, true)
  state.replid = string.sub(info, at + 14, at + 53)
  if fields[4] == state.replid or state.n == 0 then return state end

  remove_torn(stream, state)
  -- Not the same distance every time: after a split brain both sides must not skip to the same number.
  state.next = (state.next or state.n + 1) + 1000000 + now % 1000000
  local from = string.format('%.0f-%.0f:', state.ms, state.n)
  local kept = {}
  for skip in string.gmatch(state.skips, '[^,]+') do
    if string.sub(skip, 1, #from) ~= from then kept[#kept + 1] = skip end
  end
  kept[#kept + 1] = from .. string.format('%.0f', state.next)
  while #kept > MAX_SKIPS do table.remove(kept, 1) end
  state.skips = table.concat(kept, ',')
  local number = string.format('%.0f', state.next)
  local stored = redis.pcall('HSET', meta, 'skips', state.skips, 'next', number, 'replid', state.replid)
  if type(stored) == 'table' then state.refused = stored end
  return state
end

-- A topic whose producer was not heard from for as long as its lease runs is closed.
local function expire_lease (meta, state, now, channel, publish)
  if state.closed or state.until_ms == 0 or state.until_ms > now then return end
  local touched = math.max(state.touched, state.until_ms)
  redis.call('HSET', meta, 'closed', '1', 'reason', 'lost', 'message', '', 'until', '0', 'touched',
    string.format('%.0f', touched))
  redis.call(publish, channel, 'C\n')
  state.closed, state.until_ms = true, 0
end

local function now_ms ()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
