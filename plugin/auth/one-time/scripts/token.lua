-- Looks a one-time token up, or redeems it: the token itself while it is fresh, else its session.
--
-- KEYS  1  sse:token:{hash}    2  sse:session:{hash}
-- ARGV  1  'find', which changes nothing, or 'redeem'
--       2  hash of the secret that was presented, or ''   3  fingerprint of the client   4  hash of the new secret
--       5  ms a session lives unused   6  ms it lives at most   7  ms in which a repeat counts   8  how many secrets it
--       takes
-- Reply {'fresh' | 'resumed' | 'repeated' | 'busy', record, ms to the end of the session, turn or 0 for 'find', turn of
--        the stream that was open before or 0}, or nothing
--
-- Expiry times are stored in the values and compared with the clock, so that data restored from a stale replica or an
-- old dump still expires on time. Hashes of secrets have 43 characters and are separated by commas.

local token, session = KEYS[1], KEYS[2]
local redeem = ARGV[1] == 'redeem'
local secret, fingerprint, new_secret = ARGV[2], ARGV[3], ARGV[4]
local sliding, absolute, grace, max_secrets = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function ms (value) return string.format('%.0f', value) end

local function slide (ends)
  if redeem then redis.call('PEXPIRE', session, ms(math.min(sliding, ends - now))) end
end

-- The turn of a new stream, and that of the one that was open.
local function turn ()
  local open = tonumber(redis.call('HGET', session, 'open') or 0)
  if not redeem then return 0, open end
  local turn = redis.call('HINCRBY', session, 'turn', 1)
  redis.call('HSET', session, 'open', turn)
  return turn, open
end

local record, till, expires = unpack(redis.call('HMGET', token, 'record', 'until', 'expires'))
if record and tonumber(till) > now then
  local ends = math.min(now + absolute, tonumber(expires))
  if redeem then
    redis.call('DEL', token, session)
    redis.call('HSET', session, 'record', record, 'ends', ms(ends), 'spent', ms(now), 'fingerprint', fingerprint,
      'secrets', new_secret)
  end
  slide(ends)
  return {'fresh', record, ms(ends - now), turn()}
end

local held, ends, spent, known, secrets = unpack(
  redis.call('HMGET', session, 'record', 'ends', 'spent', 'fingerprint', 'secrets')
)
if not held or tonumber(ends) <= now then return false end
ends = tonumber(ends)
local left = ms(ends - now)

if secret ~= '' and string.find(',' .. secrets .. ',', ',' .. secret .. ',', 1, true) then
  slide(ends)
  return {'resumed', held, left, turn()}
end

if known == fingerprint and now - tonumber(spent) < grace and #secrets < max_secrets * 44 - 1 then
  -- Otherwise anyone who has seen the URL of an open stream could take it over.
  if tonumber(redis.call('HGET', session, 'open') or 0) > 0 then return not redeem and {'busy', held, left, 0, 0} end
  if redeem then redis.call('HSET', session, 'secrets', secrets .. ',' .. new_secret) end
  slide(ends)
  return {'repeated', held, left, turn()}
end
return false
