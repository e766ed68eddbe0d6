-- The queue's root and clock. KEYS[1] is the root (`jobs:{queue}`), ARGV[1] the time in ms, or '' for the server's own
-- (tests alone give a time).
local root = KEYS[1] .. ':'
local now = tonumber(ARGV[1])
local spare = 3600000 -- ms that keys live beyond a period: a given time may stand still, the server's does not
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
  spare = 0
end
