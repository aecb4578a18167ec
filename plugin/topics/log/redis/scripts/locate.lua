-- Both ends of a topic, and whether one entry is there, in one atomic step.
--
-- KEYS  1  sse:{topic}:log   2  sse:{topic}:meta
-- ARGV  1  an entry id       2  ms an event is kept, 0: no limit   3  ms an idle topic is kept, 0: forever
-- Reply {ms, n, born, closed, skips, count, id of the first entry or '', 1 when the entry is there, past, now, reason
--       or '', message or '', when the producer's lease runs out in Unix ms, 0 without a producer, ms the idle topic
--       is kept}

local stream, meta = KEYS[1], KEYS[2]
local now = now_ms()
local state = load_state(stream, meta, now, tonumber(ARGV[3]))
if state.refused and not is_full(state.refused) then return state.refused end
local max_age = tonumber(ARGV[2])
if max_age > 0 then
  local trimmed = redis.pcall('XTRIM', stream, 'MINID', '=', string.format('%.0f', now - max_age + 1))
  if type(trimmed) == 'table' and not is_full(trimmed) then return trimmed end
end
local first = first_from(stream, '-')
-- Left over from an earlier life, whose numbers say nothing about this one.
if first and tonumber(string.match(first[1], '^%d+')) < tonumber(state.born) then
  redis.call('XTRIM', stream, 'MINID', '=', state.born)
  first = first_from(stream, '-')
end
local found = #redis.call('XRANGE', stream, ARGV[1], ARGV[1], 'COUNT', 1)
local told = redis.call('HMGET', meta, 'reason', 'message')
-- An expired lease counts as closed; the next client with write permission records that.
local lost = not state.closed and state.until_ms > 0 and state.until_ms <= now
return {
  string.format('%.0f', state.ms), string.format('%.0f', state.n), state.born, (state.closed or lost) and 1 or 0,
  state.skips,
  redis.call('XLEN', stream), first and first[1] or '', found,
  string.format('%.0f', state.past), string.format('%.0f', now), lost and 'lost' or told[1] or '', told[2] or '',
  string.format('%.0f', lost and 0 or state.until_ms), string.format('%.0f', state.expire)
}
