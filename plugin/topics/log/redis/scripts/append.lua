-- Appends events to a topic, all or none, and notifies the followers.
--
-- KEYS  1  sse:{topic}:log          the stream
--       2  sse:{topic}:meta         the topic's state
--       3  sse:{topic}:key:<key>    optional: the idempotency key; its name includes the publisher, if there is one
-- ARGV  1  sse:{topic}:db0          the channel; ends with the number of the database
--       2  PUBLISH, or SPUBLISH on a cluster
--       3  events kept                4  ms an event is kept, 0: no limit
--       5  ms an idle topic is kept, 0: forever           6  ms an idempotency key is kept
--       7  the fence of the producer's lease, or ''        8  events appended with this lease before, or ''
--       9… event, data, retry of each event; '' stands for no event name and no retry
--       last, with a key only: a fingerprint of the events, such as a SHA-256
-- Reply {'appended', ms, n of the first event, count} | {'repeat', ms, n, count} | {'done'} | {'reused'} | {'closed'} |
--       {'superseded'}
--       'reused': the key was used for events with another fingerprint; 'done': these events were appended with this
--       lease before; 'superseded': the lease is not the topic's

local LARGE = 65536    -- bytes; a larger message is sent without its entries, and followers read them from the log

local stream, meta, key = KEYS[1], KEYS[2], KEYS[3]
local channel, publish = ARGV[1], ARGV[2]
local max_events, max_age, expire, key_ttl = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])

-- Everything is checked before the first write: a script that fails later leaves its entries behind.
local fence, accepted = ARGV[7], tonumber(ARGV[8])
local fingerprint = key and ARGV[#ARGV]
local count = (#ARGV - (key and 9 or 8)) / 3
if count < 1 or count % 1 ~= 0 then
  return redis.error_reply('ERR events come as event, data, retry, and with a key a fingerprint follows them')
end
if not (max_events and max_age and expire and key_ttl) then
  return redis.error_reply('ERR retention must be numbers')
end
if publish ~= 'PUBLISH' and publish ~= 'SPUBLISH' then
  return redis.error_reply('ERR publish with PUBLISH or SPUBLISH')
end

if key then
  local earlier = redis.call('GET', key)
  if earlier then
    local ms, n, many, used_for = string.match(earlier, '^(%d+) (%d+) (%d+) (.*)$')
    if used_for ~= fingerprint then return {'reused'} end
    return {'repeat', ms, n, many}
  end
end

local refused = append_denied(stream, meta, key, publish, channel)
if refused then return refused end

local now = now_ms()

local function trim_by_age ()
  if max_age > 0 then return redis.pcall('XTRIM', stream, 'MINID', '=', string.format('%.0f', now - max_age + 1)) end
end

-- Memory that is full stays full if only successful publishes remove what retention no longer keeps.
local function trim_and_refuse (refused)
  redis.pcall('XTRIM', stream, 'MAXLEN', '=', max_events)
  trim_by_age()
  return refused
end

local state = load_state(stream, meta, now, expire)
if state.refused then return trim_and_refuse(state.refused) end
expire_lease(meta, state, now, channel, publish)
if accepted and fence == state.fence and state.accepted >= accepted + count then return {'done'} end
if state.closed then return {'closed'} end
if fence ~= '' and (fence ~= state.fence or state.until_ms == 0) then return {'superseded'} end

local ms = math.max(now, state.ms, state.past + 1)
local first = state.next or state.n + 1
local text = string.format('%.0f', ms)
local frames, size = {}, 0
for at = 0, count - 1 do
  local event, data, retry = ARGV[9 + at * 3], ARGV[10 + at * 3], ARGV[11 + at * 3]
  local fields = {'data', data}
  if event ~= '' then fields[#fields + 1] = 'event' fields[#fields + 1] = event end
  if retry ~= '' then fields[#fields + 1] = 'retry' fields[#fields + 1] = retry end
  local id = text .. '-' .. string.format('%.0f', first + at)
  -- Trimmed once, not with each entry: exact trimming walks over everything that was deleted from the oldest node.
  local added
  if at < count - 1 then added = redis.pcall('XADD', stream, id, unpack(fields))
  else added = redis.pcall('XADD', stream, 'MAXLEN', '=', max_events, id, unpack(fields)) end
  if type(added) == 'table' then return trim_and_refuse(added) end
  local head = #event .. ' ' .. #data .. ' ' .. retry .. '\n'
  size = size + #head + #event + #data
  if size <= LARGE then frames[at + 1] = head .. event .. data end
end
trim_by_age()

local n = string.format('%.0f', first)
redis.call('HSET', meta, 'n', string.format('%.0f', first + count - 1), 'ms', text, 'replid', state.replid,
  'touched', string.format('%.0f', now))
if state.next then redis.call('HDEL', meta, 'next') end
if state.n == 0 and not state.next then redis.call('HSET', meta, 'born', text) end
if fence ~= '' then
  state.until_ms = now + redis.call('HGET', meta, 'lease')
  redis.call('HSET', meta, 'accepted', string.format('%.0f', accepted + count),
    'until', string.format('%.0f', state.until_ms))
end
if key then
  redis.call('SET', key, text .. ' ' .. n .. ' ' .. string.format('%.0f', count) .. ' ' .. fingerprint, 'PX', key_ttl)
end
keep(stream, meta, now, state.until_ms, state.expire)

if size <= LARGE then
  redis.call(publish, channel, 'E ' .. text .. ' ' .. n .. ' ' .. string.format('%.0f', count) .. '\n'
    .. table.concat(frames))
else
  redis.call(publish, channel, 'D\n')
end
return {'appended', text, n, string.format('%.0f', count)}
