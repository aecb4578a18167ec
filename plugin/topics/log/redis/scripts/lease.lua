-- Requests about the producer of a topic, by the producer itself or by others; the rules are those of lease.ts.
--
-- KEYS  1  sse:{topic}:log          2  sse:{topic}:meta
-- ARGV  1  sse:{topic}:db0, the channel      2  PUBLISH, or SPUBLISH on a cluster      3  ms an idle topic is kept, 0:
--       forever
--       4  take | restore | renew | end | stop | look
--       take: 5 holder, 6 ms of the lease, 7 '1' to take over, 8 number of the holder's events before its first new
--             one, '' to start a new lease, 9 ms the idle topic is kept, '': as before
--       restore: 5 fence, 6 holder, 7 ms of the lease, 8 events accepted, 9 ms the idle topic is kept, '': as before
--       renew: 5 fence
--       end: 5 fence, 6 reason, 7 message, may be ''               stop: 5 fence, '' for any producer
-- Reply {ok | held | missing | superseded | closed | none, fence, holder, ms that remain, events accepted, 1 when it
--        must stop, 1 when closed, reason or '', message or '', ms of the lease}

local stream, meta, channel, publish, expire, what = KEYS[1], KEYS[2], ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local purpose = 'the lease of a producer'
local refused = denied(purpose, 'HSET', meta, 'n', '0') or denied(purpose, 'PEXPIRE', meta, '1')
  or denied(purpose, 'PEXPIRE', stream, '1') or denied(purpose, 'PERSIST', meta)
  or denied(purpose, publish, channel, '')
if refused then return refused end

local now = now_ms()
local state = load_state(stream, meta, now, expire)
if state.refused then return state.refused end
expire_lease(meta, state, now, channel, publish)

-- The events live as long as their topic, also while a producer has nothing to append.
local function set (...)
  redis.call('HSET', meta, 'touched', string.format('%.0f', now), ...)
  keep(stream, meta, now, tonumber(redis.call('HGET', meta, 'until') or 0), state.expire)
end

local function grant (fence, holder, lease, accepted, stop, ttl)
  if ttl ~= '' then
    state.expire = tonumber(ttl)
    redis.call('HSET', meta, 'ttl', ttl)
  end
  set('fence', fence, 'holder', holder, 'lease', lease, 'until', string.format('%.0f', now + lease), 'accepted',
    accepted, 'stop', stop)
  redis.call(publish, channel, 'D\n')
  return 'ok'
end

local function take (holder, lease, take_over, after, ttl)
  local is_live = state.until_ms > 0
  local is_mine = is_live and after ~= '' and redis.call('HGET', meta, 'holder') == holder
  if is_live and not is_mine and take_over ~= '1' then return 'held' end
  local accepted = is_mine and state.accepted or 0
  if accepted < tonumber(after == '' and 0 or after) then return 'missing' end
  local fence = string.format('%.0f', math.max(tonumber(state.fence) + 1, now))
  local stop = is_mine and redis.call('HGET', meta, 'stop') or '0'
  return grant(fence, holder, lease, string.format('%.0f', accepted), stop, ttl)
end

-- A lease that was granted, and that a failover has lost.
local function restore (fence, holder, lease, accepted, ttl)
  if state.until_ms > 0 and state.fence == fence then return 'ok' end
  if state.until_ms > 0 or tonumber(state.fence) >= tonumber(fence) then return 'superseded' end
  return grant(fence, holder, lease, accepted, '0', ttl)
end

local function step ()
  local given = ARGV[5]
  if what == 'look' then return state.closed and 'closed' or state.until_ms > 0 and 'ok' or 'none' end
  if state.closed then return 'closed' end
  if what == 'take' then return take(given, ARGV[6], ARGV[7], ARGV[8], ARGV[9]) end
  if what == 'restore' then return restore(given, ARGV[6], ARGV[7], ARGV[8], ARGV[9]) end
  if state.until_ms == 0 then return what == 'stop' and 'none' or 'superseded' end
  if given ~= '' and given ~= state.fence then return 'superseded' end
  if what == 'stop' then
    set('stop', '1')
    redis.call(publish, channel, 'S ' .. state.fence .. '\n')
  elseif what == 'renew' then
    set('until', string.format('%.0f', now + redis.call('HGET', meta, 'lease')))
  else
    set('closed', '1', 'reason', ARGV[6], 'message', ARGV[7], 'until', '0')
    redis.call(publish, channel, 'C\n')
  end
  return 'ok'
end

local outcome = step()
local after = redis.call('HMGET', meta, 'fence', 'holder', 'until', 'accepted', 'stop', 'closed', 'reason', 'message',
  'lease')
local ends = tonumber(after[3] or 0)
return {
  outcome, after[1] or '0', after[2] or '', string.format('%.0f', ends > 0 and math.max(0, ends - now) or 0),
  after[4] or '0',
  tonumber(after[5] or 0), tonumber(after[6] or 0), after[7] or '', after[8] or '', after[9] or '0'
}
