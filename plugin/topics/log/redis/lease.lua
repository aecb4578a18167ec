-- What a producer, or somebody who wants something of it, asks of a topic; the same rules as in lease.ts.
--
-- KEYS  1  sse:{topic}:log          2  sse:{topic}:meta
-- ARGV  1  sse:{topic}:db0, the channel      2  PUBLISH, or SPUBLISH on a cluster      3  ms an idle topic is kept, 0: forever
--       4  take | renew | end | stop | look
--       take: 5 holder, 6 ms of the lease, 7 '1' to take over      renew: 5 fence
--       end: 5 fence, 6 reason, 7 message, may be ''               stop: 5 fence, '' for whichever
-- Reply {ok | held | superseded | closed | none, fence, holder, ms that remain, events accepted, 1 when it must stop,
--        1 when closed, reason or '', message or ''}

local stream, meta, channel, publish, expire, what = KEYS[1], KEYS[2], ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local refused = denied({{'HSET', meta, 'n', '0'}, {'PEXPIRE', meta, '1'}, {publish, channel, ''}}, 'the lease of a producer')
if refused then return refused end

local now = now_ms()
local state = adopt_lineage(stream, meta, now, expire)
expire_lease(meta, state, now, channel, publish)

local function set (...)
  redis.call('HSET', meta, 'touched', string.format('%.0f', now), ...)
  if expire > 0 then redis.call('PEXPIRE', meta, remembered(expire)) end
end

local function step ()
  local given = ARGV[5]
  if what == 'look' then return state.closed and 'closed' or state.until_ms > 0 and 'ok' or 'none' end
  if state.closed then return 'closed' end
  if what == 'take' then
    if state.until_ms > 0 and ARGV[7] ~= '1' then return 'held' end
    local fence = string.format('%.0f', math.max(tonumber(state.fence) + 1, now))
    set('fence', fence, 'holder', given, 'lease', ARGV[6], 'until', string.format('%.0f', now + ARGV[6]), 'accepted', '0', 'stop', '0')
    redis.call(publish, channel, 'D\n')
    return 'ok'
  end
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
local after = redis.call('HMGET', meta, 'fence', 'holder', 'until', 'accepted', 'stop', 'closed', 'reason', 'message')
local ends = tonumber(after[3] or 0)
return {
  outcome, after[1] or '0', after[2] or '', string.format('%.0f', ends > 0 and math.max(0, ends - now) or 0), after[4] or '0',
  tonumber(after[5] or 0), tonumber(after[6] or 0), after[7] or '', after[8] or ''
}
