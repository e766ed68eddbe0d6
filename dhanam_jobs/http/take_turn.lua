-- take_turn: – (no job moves)
-- Counts a request of one sender, if fewer than the limit were counted within the window that ends now.
--
-- KEYS  1 list of the moments (ms) of the sender's requests that were let through, oldest first; expires with the window
-- ARGV  1 limit: requests per window  2 window in ms
-- Returns {1, requests left, ms until the oldest one leaves the window}, or {0, 0, ms until then} where the limit is
-- reached: nothing is counted then.
local key, limit, window = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local oldest = tonumber(redis.call('LINDEX', key, 0))
while oldest and oldest <= now - window do
  redis.call('LPOP', key)
  oldest = tonumber(redis.call('LINDEX', key, 0))
end
local count = redis.call('LLEN', key)
if count >= limit then
  -- A limit that was lowered: the request fits once enough of the older ones have left.
  local leaving = tonumber(redis.call('LINDEX', key, count - limit))
  return {0, 0, math.max(1, leaving + window - now)}
end
redis.call('RPUSH', key, now)
redis.call('PEXPIRE', key, window)
return {1, limit - count - 1, (oldest or now) + window - now}
